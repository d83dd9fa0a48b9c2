// How requests and answers travel: HTTP/2 with many streams, compression, limits of size and time, watches over
// WebSocket, and reads at revisions that are too new or too old.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type ClientHttp2Session, connect } from 'node:http2';
import { after, before, describe, it } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { WebSocket } from 'ws';
import { protobufType, readFrames } from '../../support/protobuf-bodies.ts';
import { startApiServer, type TestServer } from './start-api-server.ts';

const maps = '/api/v1/namespaces/default/configmaps';
const deadlineMs = 30_000;

interface List {
  items: { metadata: { name: string } }[];
  metadata: { resourceVersion: string; continue?: string };
  message: string;
  reason: string;
  details: { causes?: { reason: string; message: string }[]; retryAfterSeconds?: number };
}

describe('transport', () => {
  let server: TestServer;
  before(async () => {
    server = await startApiServer();
  });
  after(() => server.close());

  const create = (name: string, data: Record<string, string> = {}) =>
    server.call('POST', maps, { body: { metadata: { name }, data } });

  describe('over HTTP/2', () => {
    let session: ClientHttp2Session;
    before(async () => {
      const { admin, ca } = server.pki;
      session = connect(`https://127.0.0.1:${server.port}`, { cert: admin.certPem, key: admin.keyPem, ca: ca.certPem });
      await once(session, 'connect', { signal: AbortSignal.timeout(deadlineMs) });
    });
    after(() => session.destroy());

    const ask = async (method: string, path: string, body?: object) => {
      const stream = session.request(
        { ':method': method, ':path': path, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
        { signal: AbortSignal.timeout(deadlineMs) },
      );
      stream.end(body === undefined ? undefined : JSON.stringify(body));
      const [headers] = (await once(stream, 'response')) as [{ ':status': number }];
      const text = Buffer.concat((await stream.toArray()) as Buffer[]).toString();
      return { status: headers[':status'], text };
    };

    it('serves reads and writes to who the certificate says', async () => {
      assert.equal((await ask('POST', maps, { metadata: { name: 'by-h2' } })).status, 201);
      const { status, text } = await ask('GET', `${maps}/by-h2`);
      assert.deepEqual([status, (JSON.parse(text) as { metadata: { name: string } }).metadata.name], [200, 'by-h2']);
      const who = await ask('POST', '/apis/authentication.k8s.io/v1/selfsubjectreviews', {});
      assert.match(who.text, /system:masters/);
      assert.equal((await ask('DELETE', `${maps}/by-h2`)).status, 200);
      assert.equal((await ask('GET', `${maps}/by-h2`)).status, 404);
    });

    it('keeps headers apart that come more than once', async () => {
      const stream = session.request(
        {
          ':method': 'POST',
          ':path': '/apis/authentication.k8s.io/v1/selfsubjectreviews',
          'content-type': 'application/json',
          'impersonate-user': 'jane',
          'impersonate-group': ['a', 'b,c', 'system:masters'],
        },
        { signal: AbortSignal.timeout(deadlineMs) },
      );
      stream.end('{}');
      const text = Buffer.concat((await stream.toArray()) as Buffer[]).toString();
      const { status } = JSON.parse(text) as { status: { userInfo: { groups: string[] } } };
      assert.deepEqual(status.userInfo.groups, ['a', 'b,c', 'system:masters', 'system:authenticated']);
    });

    it('serves hundreds of streams of one connection at once, watches beside them', async () => {
      const watch = session.request({ ':path': `${maps}?watch=1&resourceVersion=0` });
      watch.setEncoding('utf8');
      let seen = '';
      watch.on('data', (chunk: string) => {
        seen += chunk;
      });
      await once(watch, 'response', { signal: AbortSignal.timeout(deadlineMs) });
      const names = Array.from({ length: 400 }, (_, index) => `h2-${index}`);
      const answers = await Promise.all(names.map((name) => ask('POST', maps, { metadata: { name } })));
      assert.ok(answers.every(({ status }) => status === 201));
      const lists = await Promise.all(names.slice(0, 100).map(() => ask('GET', maps)));
      assert.ok(lists.every(({ status, text }) => status === 200 && text.includes('"h2-399"')));
      const deadline = Date.now() + deadlineMs;
      while (!names.every((name) => seen.includes(`"${name}"`)) && Date.now() < deadline) await once(watch, 'data');
      assert.ok(names.every((name) => seen.includes(`"${name}"`)));
      watch.close();
    });

    it('refuses what is too large without harm to the connection', async () => {
      const big = await ask('POST', maps, { metadata: { name: 'big' }, data: { a: 'x'.repeat(3.5 * 1024 * 1024) } });
      assert.equal(big.status, 413);
      assert.equal((await ask('GET', '/readyz')).status, 200);
    });
  });

  it('compresses long answers for clients that take it', async () => {
    await create('long', { a: 'x'.repeat(200_000) });
    const zipped = await server.call('GET', `${maps}/long`, { headers: { 'accept-encoding': 'gzip' } });
    assert.deepEqual([zipped.headers['content-encoding'], zipped.headers.vary], ['gzip', 'Accept-Encoding']);
    assert.ok(zipped.bytes.length < 10_000);
    const plain = await server.call('GET', `${maps}/long`);
    assert.equal(plain.headers['content-encoding'], undefined);
    assert.equal(gunzipSync(zipped.bytes).toString(), plain.text);
    const short = await server.call('GET', '/version', { headers: { 'accept-encoding': 'gzip, deflate' } });
    assert.equal(short.headers['content-encoding'], undefined);
  });

  it('refuses bodies that are too large, announced or not', async () => {
    const body = JSON.stringify({ metadata: { name: 'big' }, data: { a: 'x'.repeat(3.5 * 1024 * 1024) } });
    const refused = await server.call<List>('POST', maps, { body });
    assert.deepEqual([refused.status, refused.body.reason], [413, 'RequestEntityTooLarge']);
    assert.equal(refused.body.message, 'Request entity too large: limit is 3145728');
  });

  it('takes any header for what it is worth', async () => {
    const accepts = [
      '',
      ',',
      ';;;,q=,',
      '*/*;q=0',
      'application/json;q=x',
      `${'a/b,'.repeat(500)}*/*`,
      'application/json;as=',
      '\u00ff',
    ];
    for (const accept of accepts) {
      const { status } = await server.call('GET', `${maps}/long`, { headers: { accept } });
      assert.ok(status === 200 || status === 406, `${status} for ${accept.slice(0, 40)}`);
    }
    const others: Record<string, string>[] = [
      { 'content-type': ';' },
      { 'impersonate-extra-%': 'x', 'impersonate-user': 'jane' },
      { 'accept-encoding': ',;gzip;q=' },
      { 'audit-id': 'x'.repeat(5000) },
      { authorization: 'Bearer ' },
    ];
    for (const headers of others) {
      const { status } = await server.call('POST', maps, { body: '{', headers });
      assert.ok(status >= 400 && status < 500, `${status} for ${JSON.stringify(headers).slice(0, 60)}`);
    }
  });

  it('sends a long initial state whole to a reader that is slow', async () => {
    const names = Array.from({ length: 60 }, (_, index) => `slow-${index}`);
    await Promise.all(names.map((name) => create(name, { a: 'x'.repeat(100_000) })));
    const answer = await server.open('GET', `${maps}?watch=1&resourceVersion=0&timeoutSeconds=5`);
    let text = '';
    for await (const chunk of answer.setEncoding('utf8')) {
      text += chunk;
      if (names.every((name) => text.includes(`"name":"${name}"`))) break;
      if (text.length < 1_000_000) await new Promise((resolve) => setTimeout(resolve, 5));
    }
    answer.destroy();
    assert.ok(names.every((name) => text.includes(`"name":"${name}"`)));
  });

  it('takes the timeout of a request, and refuses one that is none', async () => {
    assert.equal((await server.call('GET', `${maps}/long?timeout=10s`)).status, 200);
    const refused = await server.call<List>('GET', `${maps}/long?timeout=soon`);
    assert.equal(refused.status, 400);
    assert.match(refused.body.message, /invalid timeout specified in the request URL/);
  });

  it('answers reads from the future with when to come back', async () => {
    const refused = await server.call<List>(
      'GET',
      `${maps}?resourceVersion=99999999&resourceVersionMatch=NotOlderThan`,
    );
    assert.deepEqual([refused.status, refused.body.reason], [504, 'Timeout']);
    assert.match(refused.body.message, /^Timeout: Too large resource version: 99999999, current: \d+$/);
    assert.deepEqual(refused.body.details.causes, [
      { reason: 'ResourceVersionTooLarge', message: 'Too large resource version' },
    ]);
    assert.equal(refused.body.details.retryAfterSeconds, 1);
    assert.equal(refused.headers['retry-after'], '1');
  });

  it('waits a moment for a revision that is about to come', async () => {
    const { body } = await server.call<List>('GET', maps);
    const soon = Number(body.metadata.resourceVersion) + 1;
    const read = server.call('GET', `${maps}?resourceVersion=${soon}&resourceVersionMatch=NotOlderThan`);
    await create('soon');
    assert.equal((await read).status, 200);
  });

  it('says everything that is wrong with the options of a read', async () => {
    const cases: [string, RegExp][] = [
      ['resourceVersionMatch=Exact', /resourceVersionMatch is forbidden unless resourceVersion is provided/],
      [
        'resourceVersionMatch=Nope&resourceVersion=1',
        /Unsupported value: "Nope": supported values: "Exact", "NotOlderThan", ""/,
      ],
      ['resourceVersionMatch=Exact&resourceVersion=0', /"exact" is forbidden for resourceVersion "0"/],
      ['sendInitialEvents=true', /sendInitialEvents is forbidden for list/],
      ['watch=1&sendInitialEvents=true', /sendInitialEvents requires setting resourceVersionMatch to NotOlderThan/],
      ['watch=1&resourceVersionMatch=NotOlderThan', /forbidden for watch unless sendInitialEvents is provided/],
      [
        'watch=1&resourceVersionMatch=Exact&sendInitialEvents=true',
        /is invalid: \[.*requires setting.*, resourceVersionMatch: Unsupported value: "Exact": supported values: "NotOlderThan"\]/,
      ],
    ];
    for (const [query, message] of cases) {
      const { status, body } = await server.call<List>('GET', `${maps}?${query}`);
      assert.equal(status, 422, query);
      assert.match(body.message, message);
    }
  });

  it('continues a list whose revision is gone with what is there now', async () => {
    const first = (await server.call<List>('GET', `${maps}?limit=2`)).body;
    await create('zz-later');
    await server.compact();
    const expired = await server.call<List>('GET', `${maps}?limit=2&continue=${first.metadata.continue ?? ''}`);
    assert.deepEqual([expired.status, expired.body.reason], [410, 'Expired']);
    const token = expired.body.metadata.continue ?? '';
    const rest = await server.call<List>('GET', `${maps}?continue=${token}`);
    assert.equal(rest.status, 200);
    assert.ok(rest.body.items.some(({ metadata }) => metadata.name === 'zz-later'));
    assert.ok(!rest.body.items.some(({ metadata }) => metadata.name === first.items[0]?.metadata.name));
  });

  it('ends a watch when its time is over, with a bookmark shortly before', async () => {
    const started = performance.now();
    const answer = await server.call('GET', `${maps}?watch=1&resourceVersion=0&allowWatchBookmarks=1&timeoutSeconds=3`);
    assert.ok(performance.now() - started > 2500);
    const lines = answer.text.trim().split('\n');
    assert.equal((JSON.parse(lines.at(-1) ?? '') as { type: string }).type, 'BOOKMARK');
  });

  describe('watches over WebSocket', () => {
    const open = async (
      path: string,
      accept?: string,
    ): Promise<{ socket: WebSocket; messages: Buffer[]; binary: boolean[] }> => {
      const { admin, ca } = server.pki;
      const socket = new WebSocket(`wss://127.0.0.1:${server.port}${path}`, {
        cert: admin.certPem,
        key: admin.keyPem,
        ca: ca.certPem,
        headers: accept === undefined ? {} : { accept },
      });
      const messages: Buffer[] = [];
      const binary: boolean[] = [];
      socket.on('message', (message: Buffer, isBinary) => {
        messages.push(message);
        binary.push(isBinary);
      });
      await once(socket, 'open', { signal: AbortSignal.timeout(deadlineMs) });
      return { socket, messages, binary };
    };
    const named = (name: string) => `${maps}?watch=1&fieldSelector=metadata.name%3D${name}`;

    it('come as messages of text, one for each event', async () => {
      const { socket, messages, binary } = await open(named('ws'));
      await create('ws');
      await server.call('DELETE', `${maps}/ws`);
      while (messages.length < 2) await once(socket, 'message', { signal: AbortSignal.timeout(deadlineMs) });
      const types = messages.map((message) => (JSON.parse(message.toString()) as { type: string }).type);
      assert.deepEqual(
        [types, binary],
        [
          ['ADDED', 'DELETED'],
          [false, false],
        ],
      );
      socket.terminate();
    });

    it('come as binary messages in protobuf', async () => {
      const { socket, messages, binary } = await open(named('wsp'), protobufType);
      await create('wsp');
      while (messages.length < 1) await once(socket, 'message', { signal: AbortSignal.timeout(deadlineMs) });
      const [message = Buffer.alloc(0)] = messages;
      const length = Buffer.alloc(4);
      length.writeUInt32BE(message.length);
      assert.equal(readFrames(Buffer.concat([length, message])).frames[0]?.type, 'ADDED');
      assert.deepEqual(binary, [true]);
      socket.terminate();
    });

    it('end in time, and are refused with a plain answer', async () => {
      const { socket } = await open(`${named('none')}&timeoutSeconds=1`);
      const [code] = (await once(socket, 'close', { signal: AbortSignal.timeout(deadlineMs) })) as [number];
      assert.equal(code, 1000);
      await assert.rejects(open(`${maps}?watch=1&resourceVersion=x`), /Unexpected server response: 400/);
    });
  });
});
