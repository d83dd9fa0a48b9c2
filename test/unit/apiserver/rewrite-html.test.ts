import assert from 'node:assert/strict';
import type { IncomingMessage } from 'node:http';
import { PassThrough, Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { describe, it } from 'node:test';
import { deflateSync, gunzipSync, gzipSync, inflateSync } from 'node:zlib';
import { pageRewriting, rewriteUrl } from '../../../control-plane-lite/apiserver/proxy/rewrite-answer.ts';
import { createHtmlRewriter } from '../../../control-plane-lite/apiserver/proxy/rewrite-html.ts';

const rewrite = (url: string): string => (url.startsWith('/') ? `/p${url}` : url);

/** The page in pieces of `size` bytes. */
function rewritten(page: string | Buffer, size = page.length): Buffer {
  const bytes = Buffer.from(page);
  const rewriter = createHtmlRewriter(rewrite);
  const done: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += size) done.push(rewriter.push(bytes.subarray(at, at + size)));
  return Buffer.concat([...done, rewriter.end()]);
}

describe('the rewriting of pages', () => {
  const cases: readonly (readonly [string, string, string])[] = [
    ['a link', '<a href="/x">t</a>', '<a href="/p/x">t</a>'],
    ['quotes of either kind and none', `<img src='/x'><img src=/y>`, `<img src='/p/x'><img src="/p/y">`],
    ['capital letters', '<A HREF="/x">t</A>', '<A HREF="/p/x">t</A>'],
    ['several attributes, only those with URLs', '<a title="/t" href="/x" id=/y>', '<a title="/t" href="/p/x" id=/y>'],
    ['an angle bracket within a value', '<a title="a > b" href="/x">', '<a title="a > b" href="/p/x">'],
    ['an apostrophe in a value without quotes', `<a title=it's href="/x">it's`, `<a title=it's href="/p/x">it's`],
    ['no text', 'href="/x" < 3 <3', 'href="/x" < 3 <3'],
    ['no comments', '<!-- <a href="/x"> --><a href="/y">', '<!-- <a href="/x"> --><a href="/p/y">'],
    [
      'no scripts, but where they come from',
      '<script src="/s">"<a href=\'/x\'>"</script><a href="/y">',
      '<script src="/p/s">"<a href=\'/x\'>"</script><a href="/p/y">',
    ],
    ['nothing else that is relative', '<a href="x"><a href="#y">', '<a href="x"><a href="#y">'],
    ['a tag that never ends', 'text <a href="/x', 'text <a href="/x'],
  ];
  for (const [what, page, wanted] of cases) {
    it(`changes ${what}`, () => {
      for (const size of [page.length, 1, 3, 7]) assert.equal(rewritten(page, size).toString(), wanted);
    });
  }

  it('keeps every byte of what it does not change', () => {
    const bytes = Buffer.from(Array.from({ length: 512 }, (_, index) => index % 256));
    assert.deepEqual(rewritten(bytes, 11), bytes);
  });

  it('holds little of a page back, however wrong it is', () => {
    const rewriter = createHtmlRewriter(rewrite);
    const piece = Buffer.from(`<a title="${'<a '.repeat(20_000)}`);
    let passed = 0;
    for (let index = 0; index < 20; index += 1) passed += rewriter.push(piece).length;
    assert.ok(passed > piece.length * 15, `${passed}`);
  });
});

describe('the pages of a proxied server', () => {
  const place = { prefix: '/p', hosts: [] };
  const through = async (headers: object, body: Buffer): Promise<Buffer | undefined> => {
    const answer = Object.assign(Readable.from([body]), { headers }) as unknown as IncomingMessage;
    const steps = pageRewriting(answer, place);
    if (steps === undefined) return undefined;
    const end = new PassThrough();
    const [bytes] = await Promise.all([buffer(end), pipeline([answer, ...steps, end])]);
    return bytes;
  };
  const html = { 'content-type': 'text/html' };
  const wanted = '<a href="/p/x">';

  it('are changed also where they are compressed', async () => {
    const page = '<a href="/x">';
    assert.equal(`${await through(html, Buffer.from(page))}`, wanted);
    const zipped = await through({ ...html, 'content-encoding': 'gzip' }, gzipSync(page));
    assert.equal(gunzipSync(zipped ?? '').toString(), wanted);
    const deflated = await through({ ...html, 'content-encoding': 'deflate' }, deflateSync(page));
    assert.equal(inflateSync(deflated ?? '').toString(), wanted);
  });

  it('are left alone where they are no pages, or nobody can read them', async () => {
    assert.equal(await through({ 'content-type': 'text/plain' }, Buffer.from('')), undefined);
    assert.equal(await through({ ...html, 'content-encoding': 'br' }, Buffer.from('')), undefined);
    assert.equal(await through({ ...html, location: '/x' }, Buffer.from('')), undefined);
  });
});

describe('a URL of a proxied page', () => {
  const place = { prefix: '/api/v1/namespaces/n/pods/p/proxy', hosts: ['10.0.0.1:80', 'api:6443'] };
  const cases: readonly (readonly [string, string])[] = [
    ['/x?y=/z#q', `${place.prefix}/x?y=/z#q`],
    ['/', `${place.prefix}/`],
    ['x/y', 'x/y'],
    ['', ''],
    ['http://10.0.0.1:80/x', `${place.prefix}/x`],
    ['http://10.0.0.1:80', `${place.prefix}/`],
    ['//api:6443/x', `${place.prefix}/x`],
    [`${place.prefix}/x`, `${place.prefix}/x`],
    ['https://example.org/x', 'https://example.org/x'],
    ['//example.org/x', '//example.org/x'],
    ['mailto:me', 'mailto:me'],
  ];
  for (const [url, wanted] of cases) {
    it(`leads through the proxy where it must: ${JSON.stringify(url)}`, () =>
      assert.equal(rewriteUrl(url, place), wanted));
  }
});
