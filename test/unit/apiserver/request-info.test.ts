// What is read out of a request line.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseRequestInfo } from '../../../control-plane-lite/apiserver/http/request-info.ts';

const cases: [string, string, object][] = [
  ['GET', '/api/v1/pods', { verb: 'list', plural: 'pods', namespace: '' }],
  ['GET', '/api/v1/namespaces/a/pods', { verb: 'list', plural: 'pods', namespace: 'a' }],
  ['GET', '/api/v1/namespaces/a/pods/p', { verb: 'get', name: 'p' }],
  ['GET', '/api/v1/namespaces/a/pods/p/log?follow=true', { verb: 'get', subresource: 'log' }],
  ['GET', '/api/v1/namespaces/a', { verb: 'get', plural: 'namespaces', name: 'a', namespace: 'a' }],
  [
    'PUT',
    '/api/v1/namespaces/a/finalize',
    { verb: 'update', plural: 'namespaces', name: 'a', subresource: 'finalize' },
  ],
  ['GET', '/apis/apps/v1/namespaces/a/deployments?watch=true', { verb: 'watch', group: 'apps', version: 'v1' }],
  ['GET', '/api/v1/watch/namespaces/a/pods', { verb: 'watch', plural: 'pods', namespace: 'a' }],
  ['GET', '/api/v1/pods?fieldSelector=metadata.name%3Dx', { verb: 'list', name: 'x' }],
  ['DELETE', '/api/v1/namespaces/a/pods', { verb: 'deletecollection' }],
  ['POST', '/api/v1/namespaces/a/pods/p/eviction', { verb: 'create', subresource: 'eviction' }],
  ['GET', '/api/v1/nodes/n/proxy/stats/summary', { subresource: 'proxy', name: 'n', rest: 'stats/summary' }],
  ['OPTIONS', '/api/v1/nodes/n/proxy/x', { verb: '', subresource: 'proxy' }],
  ['OPTIONS', '/healthz', { isResource: false, verb: 'options' }],
  ['GET', '/healthz', { isResource: false, verb: 'get', path: '/healthz' }],
  ['GET', '/apis/apps/v1', { isResource: false }],
  ['GET', '/apis', { isResource: false }],
];

describe('request info', () => {
  for (const [method, url, wanted] of cases) {
    it(`reads ${method} ${url}`, () => {
      const info = parseRequestInfo(method, url) as unknown as Record<string, unknown>;
      for (const [key, value] of Object.entries(wanted)) assert.equal(info[key], value, key);
    });
  }
});
