// Accept headers, health answers, continue tokens and the texts of JSON errors.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { answerHealth } from '../../../control-plane-lite/apiserver/health.ts';
import { describeJsonError } from '../../../control-plane-lite/apiserver/http/go-json-error.ts';
import {
  currentRevision,
  encodeContinue,
  parseListOptions,
} from '../../../control-plane-lite/apiserver/http/list-options.ts';
import { negotiate } from '../../../control-plane-lite/apiserver/http/negotiate.ts';
import { pods } from '../../../kube/api/generated/resources.ts';

describe('content negotiation', () => {
  it('takes the first form that it can serve', () => {
    const table = 'application/json;as=Table;v=v1;g=meta.k8s.io,application/json';
    assert.equal(negotiate(table).representation, 'table');
    assert.equal(negotiate('application/vnd.kubernetes.protobuf,application/json').representation, 'object');
    assert.equal(negotiate('application/json;as=Nope;v=v1;g=meta.k8s.io,application/json').representation, 'object');
    assert.equal(negotiate('application/yaml').mediaType, 'application/yaml');
    assert.throws(() => negotiate('text/html'), /only the following media types are accepted/);
  });
});

describe('health', () => {
  const checks = [
    { name: 'ping', failing: () => undefined },
    { name: 'store', failing: () => 'no disk' },
    { name: 'late', failing: () => 'not yet', onlyReadiness: true },
  ];
  const ask = (url: string) => {
    const [path = '', query] = url.split('?');
    return answerHealth(checks, path, new URLSearchParams(query));
  };

  it('fails as a whole when one check fails, and says which', () => {
    const answer = ask('/livez');
    assert.equal(answer?.code, 500);
    assert.equal(answer?.text, '[+]ping ok\n[-]store failed: reason withheld\nlivez check failed\n');
  });

  it('leaves out checks on request, and asks single ones', () => {
    assert.equal(ask('/livez?exclude=store')?.text, 'ok');
    assert.equal(ask('/livez/ping')?.text, 'ok');
    assert.equal(ask('/livez/late')?.code, 404);
    assert.equal(ask('/readyz?exclude=store')?.code, 500);
    assert.equal(ask('/metrics'), undefined);
  });
});

describe('list options', () => {
  const parse = (query: string) => parseListOptions(new URLSearchParams(query), { resource: pods });

  it('continues where a token says, and takes no token that is not its own', () => {
    const options = parse(`limit=5&continue=${encodeContinue(7, '/registry/pods/a/b')}`);
    assert.deepEqual([options.continueRevision, options.startAfter, options.limit], [7, '/registry/pods/a/b', 5]);
    assert.throws(() => parse('continue=rubbish'), /continue key is not valid/);
    assert.equal(parse(`continue=${encodeContinue(currentRevision, '/x')}`).continueRevision, currentRevision);
  });

  it('refuses combinations that mean nothing', () => {
    assert.throws(() => parse('resourceVersionMatch=Exact'), /forbidden unless resourceVersion is provided/);
    assert.throws(() => parse('resourceVersion=0&resourceVersionMatch=Exact'), /forbidden for resourceVersion "0"/);
    assert.throws(() => parse('fieldSelector=spec.image=x'), /field label not supported: spec.image/);
  });
});

describe('texts of JSON errors', () => {
  const cases: [string, string][] = [
    ['not json', "invalid character 'o' in literal null (expecting 'u')"],
    ['', 'unexpected end of JSON input'],
    ['{"a":', 'unexpected end of JSON input'],
    ['{"a":x}', "invalid character 'x' looking for beginning of value"],
    ['{"a":1 "b"}', `invalid character '"' after object key:value pair`],
    ['{a:1}', "invalid character 'a' looking for beginning of object key string"],
    ['[1,2', 'unexpected end of JSON input'],
    ['{} x', "invalid character 'x' after top-level value"],
  ];
  for (const [text, wanted] of cases) {
    it(`says what is wrong with ${JSON.stringify(text)}`, () => {
      assert.equal(describeJsonError(text), wanted);
    });
  }
});
