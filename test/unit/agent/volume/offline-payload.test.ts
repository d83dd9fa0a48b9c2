import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Pod, Volume } from '#kube/api/generated/core-v1.ts';
import { type PayloadSources, resolvePayload } from '../../../../agent/volume/resolve-payload.ts';

const pod: Pod = {
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'p', namespace: 'default', uid: 'u' },
  spec: { containers: [{ name: 'c', image: 'i' }] },
};

function volumeNamed(name: string): Volume {
  return {
    name,
    projected: {
      sources: [
        { serviceAccountToken: { path: 'token' } },
        { configMap: { name: 'kube-root-ca.crt' } },
        { downwardAPI: { items: [{ path: 'namespace', fieldRef: { fieldPath: 'metadata.namespace' } }] } },
      ],
    },
  };
}

function sourcesThat(isOffline: boolean): PayloadSources {
  const away = async () => {
    throw new Error('the API server is away');
  };
  return {
    objects: { configMap: away, secret: away, release: () => undefined, close: async () => undefined },
    tokens: { issue: away, token: away, release: () => undefined },
    trustBundles: { anchors: away } as unknown as PayloadSources['trustBundles'],
    downward: () => ({ hostIps: [], podIps: [], nodeAllocatable: {} }),
    isOffline: () => isOffline,
  };
}

const resolve = (name: string, isOffline: boolean) =>
  resolvePayload(pod, volumeNamed(name), sourcesThat(isOffline), new AbortController().signal);

describe('volumes while the API server is away', () => {
  it('leave out what a pod needs to talk to it', async () => {
    const payload = await resolve('kube-api-access-x2x4z', true);
    assert.deepEqual([...(payload?.keys() ?? [])], ['namespace']);
  });

  it('wait where a pod asked for the objects itself', async () => {
    await assert.rejects(resolve('mine', true), /away/);
  });

  it('wait for everything as long as it is expected to answer', async () => {
    await assert.rejects(resolve('kube-api-access-x2x4z', false), /away/);
  });
});
