// Where proxied requests go, and where they may not.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { agentLogPath, agentStreamPath } from '../../../control-plane-lite/apiserver/proxy/agent-requests.ts';
import {
  agentUrl,
  parseProxiedName,
  podUrl,
  serviceUrl,
} from '../../../control-plane-lite/apiserver/proxy/backend-address.ts';
import type { ObjectReader } from '../../../control-plane-lite/registry/object-reader.ts';

const found: Record<string, object> = {
  'nodes//n': {
    status: {
      addresses: [
        { type: 'Hostname', address: 'n' },
        { type: 'InternalIP', address: '192.0.2.7' },
      ],
      daemonEndpoints: { kubeletEndpoint: { Port: 10250 } },
    },
  },
  'pods/a/p': {
    status: { podIP: '10.244.0.5' },
    spec: { containers: [{ ports: [{ name: 'web', containerPort: 8080 }] }] },
  },
  'pods/a/evil': { status: { podIP: '127.0.0.1' }, spec: { containers: [] } },
  'services/a/s': { spec: { ports: [{ name: 'http', port: 80 }] } },
};
const slices = [
  {
    metadata: { labels: { 'kubernetes.io/service-name': 's' } },
    ports: [{ name: 'http', port: 8080 }],
    endpoints: [
      { addresses: ['10.244.0.1'], conditions: { ready: false } },
      { addresses: ['10.244.0.2'], conditions: { ready: true } },
      { addresses: ['10.244.0.3'], conditions: {} },
    ],
  },
];
const objects = {
  get: ({ plural }: { plural: string }, namespace: string, name: string) => found[`${plural}/${namespace}/${name}`],
  list: () => slices,
} as unknown as ObjectReader;

describe('addresses of backends', () => {
  it('read scheme, name and port', () => {
    assert.deepEqual(parseProxiedName('https:x:443'), { scheme: 'https', name: 'x', port: '443' });
    assert.deepEqual(parseProxiedName('x:http'), { scheme: 'http', name: 'x', port: 'http' });
    assert.throws(() => parseProxiedName('ftp:x:1'), /invalid service or pod request/);
  });

  it('are the internal address of a node, and a port of it on request', () => {
    assert.equal(agentUrl(objects, 'n').href, 'https://192.0.2.7:10250/');
    assert.equal(agentUrl(objects, 'n', '9100').href, 'https://192.0.2.7:9100/');
    assert.throws(() => agentUrl(objects, 'gone'), /nodes "gone" not found/);
  });

  it('are the first port of a pod, or a named one, and never the machine itself', () => {
    assert.equal(podUrl(objects, 'a', 'p').href, 'http://10.244.0.5:8080/');
    assert.equal(podUrl(objects, 'a', 'https:p:web').href, 'https://10.244.0.5:8080/');
    assert.throws(() => podUrl(objects, 'a', 'evil:80'), /address not allowed/);
  });

  it('are the endpoints of a service that are ready', () => {
    assert.equal(serviceUrl(objects, 'a', 's', 0).href, 'http://10.244.0.2:8080/');
    assert.equal(serviceUrl(objects, 'a', 's:80', 0.99).href, 'http://10.244.0.3:8080/');
    assert.throws(() => serviceUrl(objects, 'a', 's:81', 0), /no service port "81" found/);
  });
});

describe('requests to an agent', () => {
  const pod = (...names: string[]) => ({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'p', namespace: 'a' },
    spec: { containers: names.map((name) => ({ name })) },
  });

  it('translate the options of streams', () => {
    const query = new URLSearchParams('stdin=true&stdout=1&stderr=false&tty=true&command=a%20b&command=c');
    assert.equal(agentStreamPath('exec', pod('c'), query), '/exec/a/p/c?input=1&output=1&tty=1&command=a+b&command=c');
    assert.equal(
      agentStreamPath('portForward', pod('c'), new URLSearchParams('ports=80&ports=81')),
      '/portForward/a/p?port=80&port=81',
    );
  });

  it('pass on what an agent knows about logs', () => {
    const query = new URLSearchParams('follow=true&tailLines=5&pretty=1');
    assert.equal(agentLogPath(pod('c'), query), '/containerLogs/a/p/c?follow=true&tailLines=5');
    assert.throws(
      () => agentLogPath(pod('c', 'd'), query),
      /a container name must be specified for pod p, choose one of: \[c d\]/,
    );
    assert.throws(
      () => agentLogPath(pod('c'), new URLSearchParams('container=x')),
      /container x is not valid for pod p/,
    );
  });
});
