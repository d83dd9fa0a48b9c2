// An etcd that a stock API server has written: protobuf and JSON without revisions, read, watched and written on.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { HorizontalPodAutoscaler } from '#kube/api/generated/autoscaling-v2.ts';
import {
  configmaps,
  events,
  horizontalpodautoscalers,
  nodes,
  pods,
  secrets,
  services,
} from '#kube/api/generated/resources.ts';
import { createProtobufCodec } from '../../../control-plane-lite/apiserver/protobuf/protobuf-codec.ts';
import { loadSchema } from '../../../control-plane-lite/registry/schema.ts';
import { startControlPlane } from '../../support/start-control-plane.ts';
import { etcdUnavailable, startEtcd } from '../../support/start-etcd.ts';

const uid = (digit: number) => `00000000-0000-4000-8000-00000000000${digit}`;
const creationTimestamp = '2026-01-02T03:04:05Z';
const within = (name: string, digit: number) => ({
  name,
  namespace: 'default',
  uid: uid(digit),
  creationTimestamp,
  labels: { from: 'elsewhere' },
});
const stored: [string, Record<string, unknown>][] = [
  [
    '/registry/pods/default/old',
    {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: within('old', 1),
      spec: {
        nodeName: 'n1',
        containers: [{ name: 'c', image: 'i', resources: { requests: { cpu: '100m', memory: '1Gi' } } }],
      },
      status: { phase: 'Running', podIP: '10.0.0.9' },
    },
  ],
  [
    '/registry/secrets/default/key',
    { apiVersion: 'v1', kind: 'Secret', type: 'Opaque', metadata: within('key', 2), data: { a: 'AAEC' } },
  ],
  [
    '/registry/services/specs/default/web',
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: within('web', 3),
      spec: {
        type: 'ClusterIP',
        clusterIP: '10.96.0.9',
        clusterIPs: ['10.96.0.9'],
        ports: [{ port: 80, targetPort: 'http' }],
      },
    },
  ],
  [
    '/registry/minions/n1',
    {
      apiVersion: 'v1',
      kind: 'Node',
      metadata: { name: 'n1', uid: uid(4), creationTimestamp },
      status: { capacity: { cpu: '4', memory: '8Gi' } },
    },
  ],
  [
    '/registry/horizontalpodautoscalers/default/scale',
    {
      apiVersion: 'autoscaling/v2',
      kind: 'HorizontalPodAutoscaler',
      metadata: within('scale', 5),
      spec: { maxReplicas: 3, scaleTargetRef: { kind: 'Deployment', name: 'web', apiVersion: 'apps/v1' } },
    },
  ],
];
const asJson: [string, Record<string, unknown>][] = [
  [
    '/registry/configmaps/default/plain',
    { kind: 'ConfigMap', apiVersion: 'v1', metadata: within('plain', 6), data: { a: 'b' } },
  ],
  [
    '/registry/events/default/told',
    {
      kind: 'Event',
      apiVersion: 'v1',
      metadata: within('told', 7),
      involvedObject: { kind: 'Pod', namespace: 'default', name: 'old', resourceVersion: '12345' },
      reason: 'Started',
      lastTimestamp: new Date().toISOString().replace(/\.\d+Z/, 'Z'),
    },
  ],
];

describe('an etcd of a stock API server', { timeout: 120_000, skip: etcdUnavailable ?? false }, () => {
  it('is read, watched and written on', async () => {
    await using etcd = await startEtcd(1);
    const codec = createProtobufCodec(loadSchema());
    const raw = etcd.connect();
    const revisions = new Map<string, number>();
    const write = async (key: string, value: Buffer) => {
      const { revision } = await raw.replace(Buffer.from(key), 0, value);
      revisions.set(key, revision);
    };
    for (const [key, object] of stored) await write(key, codec.encode(object));
    for (const [key, object] of asJson) await write(key, Buffer.from(`${JSON.stringify(object)}\n`));
    // Of these a stock API server makes more: not objects, or none that berth serves.
    await write('/registry/compact_rev_key', Buffer.from('17'));
    await write('/registry/masterleases/192.0.2.9', Buffer.from('k8s\0nonsense'));

    const plane = await startControlPlane([`--store=etcd=${etcd.urls}`]);
    try {
      const { client } = plane;
      const revisionOf = (key: string) => String(revisions.get(key));
      const at = (name: string) => ({ namespace: 'default', name });
      const pod = await client.get(pods, at('old'));
      assert.equal(pod.metadata.resourceVersion, revisionOf('/registry/pods/default/old'));
      assert.equal(pod.metadata.uid, uid(1));
      assert.deepEqual(pod.spec?.containers[0]?.resources?.requests, { cpu: '100m', memory: '1Gi' });
      assert.equal((await client.get(secrets, at('key'))).data?.['a'], 'AAEC');
      assert.equal((await client.get(services, at('web'))).spec?.ports?.[0]?.targetPort, 'http');
      assert.equal((await client.get(nodes, { name: 'n1' })).status?.capacity?.['cpu'], '4');
      const scale: HorizontalPodAutoscaler = await client.get(horizontalpodautoscalers, at('scale'));
      assert.equal(scale.spec?.maxReplicas, 3);
      const plain = await client.get(configmaps, at('plain'));
      assert.equal(plain.metadata.resourceVersion, revisionOf('/registry/configmaps/default/plain'));
      const told = await client.get(events, at('told'));
      assert.equal(told.metadata.resourceVersion, revisionOf('/registry/events/default/told'));
      assert.equal(told.involvedObject.resourceVersion, '12345');
      const chosen = await client.list(pods, { labelSelector: 'from=elsewhere', fieldSelector: 'spec.nodeName=n1' });
      assert.equal(chosen.items.length, 1);

      // A client that had watched the other server goes on where it was.
      const signal = AbortSignal.timeout(30_000);
      const since = String(Number(plain.metadata.resourceVersion) - 1);
      for await (const event of client.watch(configmaps, { resourceVersion: since, signal })) {
        if (event.type === 'BOOKMARK') continue;
        assert.deepEqual([event.type, (event.object.metadata as { name?: string }).name], ['ADDED', 'plain']);
        break;
      }

      const changed = await client.update(configmaps, { ...plain, data: { a: 'c' } });
      assert.ok(Number(changed.metadata.resourceVersion) > Number(plain.metadata.resourceVersion));
      const labelled = { metadata: { labels: { touched: 'yes' } } };
      await client.patch(secrets, at('key'), 'merge', labelled);
      const { kvs } = await raw.range({ key: Buffer.from('/registry/secrets/default/key') });
      const rewritten = JSON.parse(kvs[0]?.value.toString() ?? '') as { metadata: { labels: object } };
      assert.deepEqual(rewritten.metadata.labels, { from: 'elsewhere', touched: 'yes' });
    } finally {
      await plane.stop();
      raw.close();
    }
  });
});
