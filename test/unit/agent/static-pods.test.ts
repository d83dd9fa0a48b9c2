import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { pino } from 'pino';
import type { Node, Pod } from '#kube/api/generated/core-v1.ts';
import type { ApiClient } from '#kube/client/types.ts';
import { createMirrorPods, staticUidOf } from '../../../agent/pod-source/mirror-pods.ts';
import { parseStaticPod } from '../../../agent/pod-source/parse-static-pod.ts';
import { createStaticPods } from '../../../agent/pod-source/static-pods.ts';
import { createFakeClock } from '../../support/fake-clock.ts';

const manifest = (image = 'a:1') =>
  `apiVersion: v1\nkind: Pod\nmetadata:\n  name: etcd\n  namespace: kube-system\nspec:\n  containers:\n  - name: c\n    image: ${image}\n`;
const parse = (text: string) => parseStaticPod(text, '/m/etcd.yaml', 'Node-A', 'now');
const logger = pino({ level: 'silent' });

describe('parseStaticPod', () => {
  it('names the pod after the node, and marks where it came from', () => {
    const { metadata, spec } = parse(manifest());
    assert.equal(metadata.name, 'etcd-node-a');
    assert.match(metadata.uid ?? '', /^[0-9a-f]{32}$/);
    assert.equal(metadata.annotations?.['kubernetes.io/config.source'], 'file');
    assert.equal(metadata.annotations?.['kubernetes.io/config.hash'], metadata.uid);
    assert.equal(spec.nodeName, 'Node-A');
    assert.deepEqual(spec.tolerations, [{ operator: 'Exists', effect: 'NoExecute' }]);
  });

  it('gives a changed manifest another uid, and the same one the same', () => {
    assert.equal(parse(manifest()).metadata.uid, parse(manifest()).metadata.uid);
    assert.notEqual(parse(manifest()).metadata.uid, parse(manifest('a:2')).metadata.uid);
  });

  for (const [text, message] of [
    ['a: [', /not YAML/],
    ['kind: Service\napiVersion: v1', /not a Pod/],
    ['apiVersion: v1\nkind: Pod\nmetadata: {}\nspec: {}', /metadata.name is missing/],
    ['apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {}', /spec.containers is missing/],
  ] as const) {
    it(`refuses ${JSON.stringify(text)}`, () => assert.throws(() => parse(text), message));
  }
});

describe('createStaticPods', () => {
  const directory = mkdtempSync(join(tmpdir(), 'agent-static-'));
  after(() => rmSync(directory, { recursive: true, force: true }));

  it('tells pods as they come, change and go, and goes on past bad files', async () => {
    const told: string[] = [];
    const source = createStaticPods({
      directory,
      nodeName: 'n',
      periodMs: 1000,
      clock: createFakeClock(),
      logger,
      added: (pod) => void told.push(`+${pod.spec.containers[0]?.image}`),
      removed: (pod) => void told.push(`-${pod.spec.containers[0]?.image}`),
    });
    writeFileSync(join(directory, 'bad.yaml'), 'a: [');
    writeFileSync(join(directory, '.hidden'), manifest('hidden'));
    writeFileSync(join(directory, 'a.yaml'), manifest());
    await source.refresh();
    await source.refresh();
    writeFileSync(join(directory, 'a.yaml'), manifest('a:2'));
    await source.refresh();
    rmSync(join(directory, 'a.yaml'));
    await source.refresh();
    assert.deepEqual(told, ['+a:1', '-a:1', '+a:2', '-a:2']);
  });
});

describe('createMirrorPods', () => {
  it('makes a mirror, makes it again when it is deleted, and removes it with the static pod', async () => {
    const clock = createFakeClock();
    const calls: string[] = [];
    const client = {
      async create(_resource: unknown, _namespace: string, pod: Pod) {
        calls.push(`create ${pod.metadata.name} of ${pod.metadata.ownerReferences?.[0]?.uid}`);
        mirrors.mirrorSeen({ ...pod, metadata: { ...pod.metadata, uid: `m${calls.length}` } });
        return pod;
      },
      async delete(_resource: unknown, key: { name: string }) {
        calls.push(`delete ${key.name}`);
      },
    } as unknown as ApiClient;
    const node = { metadata: { name: 'n', uid: 'node-uid' } } as Node;
    const mirrors = createMirrorPods({ client, clock, logger, node: () => node });
    const stop = new AbortController();
    const running = mirrors.run(stop.signal);
    const pod = parseStaticPod(manifest(), '/m/a.yaml', 'n', 'now');
    mirrors.staticAdded(pod);
    await clock.advance(10);
    const mirror: Pod = {
      ...pod,
      metadata: {
        ...pod.metadata,
        uid: 'm1',
        annotations: { ...pod.metadata.annotations, 'kubernetes.io/config.mirror': pod.metadata.uid ?? '' },
      },
    };
    assert.equal(staticUidOf(mirror), pod.metadata.uid);
    mirrors.mirrorGone(mirror);
    await clock.advance(10);
    mirrors.staticRemoved(pod);
    await clock.advance(10);
    stop.abort();
    await running;
    assert.deepEqual(calls, ['create etcd-n of node-uid', 'create etcd-n of node-uid', 'delete etcd-n']);
  });
});
