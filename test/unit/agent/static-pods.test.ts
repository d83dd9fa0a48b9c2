import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { pino } from 'pino';
import type { Node, Pod } from '#kube/api/generated/core-v1.ts';
import type { ApiClient } from '#kube/client/types.ts';
import { manifestDirectory } from '../../../agent/pod-source/manifest-directory.ts';
import { manifestUrl } from '../../../agent/pod-source/manifest-url.ts';
import { createMirrorPods, staticUidOf } from '../../../agent/pod-source/mirror-pods.ts';
import { parseStaticPod, parseStaticPods } from '../../../agent/pod-source/parse-static-pod.ts';
import { createStaticPods } from '../../../agent/pod-source/static-pods.ts';
import { createFakeClock } from '../../support/fake-clock.ts';

const manifest = (image = 'a:1') =>
  `apiVersion: v1\nkind: Pod\nmetadata:\n  name: etcd\n  namespace: kube-system\nspec:\n  containers:\n  - name: c\n    image: ${image}\n`;
const parse = (text: string) =>
  parseStaticPod(text, { source: 'file', place: '/m/etcd.yaml', nodeName: 'Node-A' }, 'now');
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
      read: manifestDirectory(directory, { nodeName: 'n' }, logger),
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

describe('manifests', () => {
  it('hold one pod: of several documents the first is it', () => {
    assert.equal(parse(`---\n${manifest()}---\nkind: Service\n`).metadata.name, 'etcd-node-a');
  });

  it('may not refer to objects of the API server', () => {
    const spec = (field: string) => `${manifest()}  ${field}\n`;
    assert.throws(() => parse(spec('serviceAccountName: default')), /may not reference serviceaccounts/);
    assert.throws(() => parse(spec('volumes: [{name: v, secret: {secretName: s}}]')), /may not reference secrets/);
    const env = '    envFrom: [{configMapRef: {name: c}}]';
    assert.throws(() => parse(`${manifest()}${env}\n`), /may not reference configmaps/);
  });

  it('name nothing that would leave the directories of the node', () => {
    assert.throws(() => parse(manifest().replace('name: etcd', 'name: ../etcd')), /name is not valid/);
    assert.throws(() => parse(manifest().replace('- name: c', '- name: c/d')), /name of a container is not valid/);
    assert.throws(() => parse(manifest().replace('name: etcd', 'name: etcd\n  uid: ../a')), /uid is not valid/);
  });

  it('of a URL may be a list', () => {
    const pod = { metadata: { name: 'a' }, spec: { containers: [{ name: 'c' }] } };
    const text = JSON.stringify({
      apiVersion: 'v1',
      kind: 'PodList',
      items: [pod, { ...pod, metadata: { name: 'b' } }],
    });
    const pods = parseStaticPods(text, { source: 'http', place: 'http://h/', nodeName: 'n' }, 'now');
    assert.deepEqual(
      pods.map(({ metadata }) => [metadata.name, metadata.annotations?.['kubernetes.io/config.source']]),
      [
        ['a-n', 'http'],
        ['b-n', 'http'],
      ],
    );
  });
});

describe('pods of a URL', () => {
  it('stay while the server does not answer, and go when it says so', async () => {
    const answers = [
      manifest(),
      new Error('connection refused'),
      new Error('connection refused'),
      '{"kind":"PodList","items":[]}',
    ];
    const seen: Record<string, string[]>[] = [];
    const fetchText = async (_: string, headers: Record<string, string[]>) => {
      seen.push(headers);
      const answer = answers.shift() ?? '';
      if (answer instanceof Error) throw answer;
      return answer;
    };
    const told: string[] = [];
    const headers = { 'X-Token': ['a', 'b'] };
    const source = createStaticPods({
      read: manifestUrl('http://h/', headers, { nodeName: 'n' }, logger, fetchText, 1000),
      periodMs: 1000,
      clock: createFakeClock(),
      logger,
      added: (pod) => void told.push(`+${pod.metadata.name}`),
      removed: (pod) => void told.push(`-${pod.metadata.name}`),
    });
    await source.refresh();
    await source.refresh();
    await source.refresh();
    assert.deepEqual(told, ['+etcd-n']);
    await source.refresh();
    assert.deepEqual(told, ['+etcd-n', '-etcd-n']);
    assert.deepEqual(seen[0], headers);
  });
});

describe('a changed pod with a uid of its own', () => {
  it('comes when the earlier one has ended', async () => {
    const told: string[] = [];
    let busy = true;
    let image = 'a:1';
    const source = createStaticPods({
      read: async () => [parse(manifest(image).replace('name: etcd', 'name: etcd\n  uid: own'))],
      periodMs: 1000,
      clock: createFakeClock(),
      logger,
      added: (pod) => void told.push(`+${pod.spec.containers[0]?.image}`),
      removed: (pod) => void told.push(`-${pod.spec.containers[0]?.image}`),
      isBusy: () => busy && told.length > 0,
    });
    await source.refresh();
    image = 'a:2';
    await source.refresh();
    await source.refresh();
    assert.deepEqual(told, ['+a:1', '-a:1']);
    busy = false;
    await source.refresh();
    assert.deepEqual(told, ['+a:1', '-a:1', '+a:2']);
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
    const pod = parseStaticPod(manifest(), { source: 'file', place: '/m/a.yaml', nodeName: 'n' }, 'now');
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
