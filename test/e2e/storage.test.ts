// Claims on storage of the node: bound, mounted, shown to containers, given back.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import {
  configmaps,
  persistentvolumeclaims,
  persistentvolumes,
  pods as podResource,
  storageclasses,
} from '#kube/api/generated/resources.ts';
import { execOrThrow, systemExec } from '#kube/process/exec.ts';
import { clustersUnavailable } from '../support/e2e-cluster.ts';
import { eventually } from '../support/eventually.ts';
import { busyboxImage, type NodeCluster, script, startNodeCluster } from '../support/node-cluster.ts';
import { claimDraft, claimVolume, onlyOnNode, volumeDraft } from '../support/storage-objects.ts';

describe('claims', { skip: clustersUnavailable() ?? false, concurrency: 4 }, () => {
  let node: NodeCluster;
  let directory = '';
  before(async () => {
    node = await startNodeCluster();
    directory = await mkdtemp(join(tmpdir(), 'berth-storage-'));
  });
  after(async () => {
    await node?.[Symbol.asyncDispose]();
    if (directory !== '') await rm(directory, { recursive: true, force: true });
  });

  const unique = (name: string) => `${name}-${randomBytes(3).toString('hex')}`;
  const newDirectory = () => mkdtemp(join(directory, 'v-'));

  /** A volume and a claim of its own, which names it. */
  async function boundClaim(spec: Parameters<typeof volumeDraft>[1]): Promise<{ namespace: string; volume: string }> {
    const namespace = await node.namespace();
    const volume = unique('volume');
    await node.client.create(persistentvolumes, undefined, volumeDraft(volume, spec));
    await node.client.create(persistentvolumeclaims, namespace, claimDraft('data', { volumeName: volume }));
    return { namespace, volume };
  }

  it('mounts a claim on a path of the node, and leaves the data there', async () => {
    const path = await newDirectory();
    const { namespace, volume } = await boundClaim({ hostPath: { path } });
    const { volumes, volumeMounts } = claimVolume('data');
    const spec = { volumes, containers: [script('echo kept > /v/file', { volumeMounts })] };
    await node.output(namespace, { spec });
    assert.equal(await readFile(join(path, 'file'), 'utf8'), 'kept\n');
    const claim = await node.client.get(persistentvolumeclaims, { namespace, name: 'data' });
    assert.deepEqual(claim.status, { phase: 'Bound', accessModes: ['ReadWriteOnce'], capacity: { storage: '10Mi' } });
    await node.client.delete(persistentvolumeclaims, { namespace, name: 'data' });
    await eventually('the volume is released', async () => {
      const { status } = await node.client.get(persistentvolumes, { name: volume });
      return status?.phase === 'Released';
    });
  });

  it('binds a local volume into the pod, owned by its group', async () => {
    const path = await newDirectory();
    await writeFile(join(path, 'before'), 'here');
    const { namespace } = await boundClaim({ local: { path }, ...onlyOnNode(node.nodeName) });
    const { volumes, volumeMounts } = claimVolume('data');
    const text = await node.output(namespace, {
      spec: {
        securityContext: { fsGroup: 4321, runAsUser: 1000 },
        volumes,
        containers: [
          script('cat /v/before; echo; stat -c %g /v /v/before; touch /v/new; stat -c %g /v/new', { volumeMounts }),
        ],
      },
    });
    assert.equal(text, 'here\n4321\n4321\n4321\n');
    assert.equal((await stat(join(path, 'new'))).uid, 1000);
  });

  it('says why a pod waits for a claim', async () => {
    const namespace = await node.namespace();
    const { volumes, volumeMounts } = claimVolume('missing');
    const spec = { nodeName: node.nodeName, volumes, containers: [script('true', { volumeMounts })] };
    await node.createPod(namespace, { name: 'waits', spec });
    const told = await eventually('an event', async () => {
      const events = await node.events(namespace, 'waits');
      return events.find(({ reason }) => reason === 'FailedMount')?.message;
    });
    assert.match(
      told,
      /^Unable to attach or mount volumes: unmounted volumes=\[v\], unattached volumes=\[\], failed to process volumes=\[v\]: error processing PVC test-\w+\/missing: failed to fetch PVC from API server: /,
    );
  });

  it('says that a local volume is not there', async () => {
    const { namespace, volume } = await boundClaim({ local: { path: '/no/such' }, ...onlyOnNode(node.nodeName) });
    const { volumes, volumeMounts } = claimVolume('data');
    await node.createPod(namespace, {
      name: 'waits',
      spec: { volumes, containers: [script('true', { volumeMounts })] },
    });
    const expected = `MountVolume.NewMounter initialization failed for volume "${volume}" : path "/no/such" does not exist`;
    await eventually('the event', async () => {
      const events = await node.events(namespace, 'waits');
      return events.some(({ reason, message }) => reason === 'FailedMount' && message === expected);
    });
  });

  const imageSpec = (text: string, pullPolicy: string, reference = busyboxImage, mount: object = {}) => ({
    volumes: [{ name: 'v', image: { reference, pullPolicy } }],
    containers: [script(text, { volumeMounts: [{ name: 'v', mountPath: '/v', ...mount }] })],
  });

  it('mounts the files of an image, for reading only', async () => {
    const namespace = await node.namespace();
    const text = 'ls /v/bin/busybox; touch /v/x 2>/dev/null || echo refused';
    assert.equal(await node.output(namespace, { spec: imageSpec(text, 'IfNotPresent') }), '/v/bin/busybox\nrefused\n');
  });

  it('mounts a directory of an image', async () => {
    const namespace = await node.namespace();
    const spec = imageSpec('ls /v/busybox', 'Never', busyboxImage, { subPath: 'bin' });
    assert.equal(await node.output(namespace, { spec }), '/v/busybox\n');
  });

  it('lets a container wait for the image of a volume', async () => {
    const namespace = await node.namespace();
    await node.createPod(namespace, { name: 'waits', spec: imageSpec('true', 'Never', 'localhost/no/such:1') });
    await node.waitForPod(namespace, 'waits', 'it waits', ({ status }) => {
      const waiting = status?.containerStatuses?.[0]?.state?.waiting;
      return waiting?.reason === 'ErrImageNeverPull';
    });
  });

  it('tells how full volumes are', async () => {
    const path = await newDirectory();
    const { namespace } = await boundClaim({ local: { path }, ...onlyOnNode(node.nodeName) });
    const { volumes, volumeMounts } = claimVolume('data');
    const fill = 'dd if=/dev/zero of=/own/f bs=1M count=3 2>/dev/null; trap exit TERM; sleep 3600 & wait';
    const mounts = [...volumeMounts, { name: 'own', mountPath: '/own' }];
    const spec = {
      volumes: [...volumes, { name: 'own', emptyDir: {} }],
      containers: [script(fill, { volumeMounts: mounts })],
    };
    await node.createPod(namespace, { name: 'full', spec });
    await node.waitReady(namespace, 'full');
    interface Summary {
      pods: {
        podRef: { name: string; namespace: string };
        volume?: { name: string; usedBytes: number; pvcRef?: object }[];
      }[];
    }
    const proxy = `/api/v1/nodes/${node.nodeName}/proxy`;
    const { pods } = await node.client.raw<Summary>({ method: 'GET', path: `${proxy}/stats/summary` });
    const own = pods.find(({ podRef }) => podRef.namespace === namespace)?.volume ?? [];
    assert.ok((own.find(({ name }) => name === 'own')?.usedBytes ?? 0) >= 3 * 1024 * 1024);
    assert.deepEqual(own.find(({ name }) => name === 'v')?.pvcRef, { name: 'data', namespace });
    const metrics = await node.client.raw<string>({ method: 'GET', path: `${proxy}/metrics` });
    assert.match(
      metrics,
      new RegExp(`kubelet_volume_stats_capacity_bytes{namespace="${namespace}",persistentvolumeclaim="data"} [0-9]+`),
    );
  });

  for (const [what, spec, message] of [
    [
      'a volume larger than its limit',
      { volumes: [{ name: 'v', emptyDir: { sizeLimit: '1Mi' } }] },
      'Usage of EmptyDir volume "v" exceeds the limit "1Mi". ',
    ],
    [
      'a container that writes more than its limit',
      { volumes: [{ name: 'v', emptyDir: {} }], limits: { 'ephemeral-storage': '1Mi' }, path: '/written' },
      'Pod ephemeral local storage usage exceeds the total limit of containers 1Mi. ',
    ],
  ] as const) {
    it(`evicts ${what}`, async () => {
      const namespace = await node.namespace();
      const { limits = {}, path = '/v/f' } = { limits: undefined, path: undefined, ...spec };
      const text = `dd if=/dev/zero of=${path} bs=1M count=4 2>/dev/null; trap exit TERM; sleep 3600 & wait`;
      const fields = { volumeMounts: [{ name: 'v', mountPath: '/v' }], resources: { limits } };
      await node.createPod(namespace, {
        name: 'greedy',
        spec: { volumes: [...spec.volumes], containers: [script(text, fields)] },
      });
      const { status } = await node.waitEnded(namespace, 'greedy');
      assert.deepEqual([status?.phase, status?.reason, status?.message], ['Failed', 'Evicted', message]);
      const events = await node.events(namespace, 'greedy');
      assert.ok(events.some((event) => event.reason === 'Evicted' && event.message === message));
    });
  }

  it('makes a volume for a claim of the default class when its first pod has a node, and removes it after the claim', async () => {
    const namespace = await node.namespace();
    const { storageClassName: _, ...rest } = claimDraft('data').spec;
    await node.client.create(persistentvolumeclaims, namespace, { metadata: { name: 'data' }, spec: rest });
    const { volumes, volumeMounts } = claimVolume('data');
    const securityContext = { runAsUser: 1000 };
    const write = [script('echo first > /v/file', { volumeMounts })];
    await node.output(namespace, { spec: { volumes, securityContext, containers: write } });
    const read = [script('cat /v/file', { volumeMounts })];
    assert.equal(await node.output(namespace, { spec: { volumes, securityContext, containers: read } }), 'first\n');
    const claim = await node.client.get(persistentvolumeclaims, { namespace, name: 'data' });
    assert.equal(claim.spec.storageClassName, 'local');
    const volume = await node.client.get(persistentvolumes, { name: claim.spec.volumeName ?? '' });
    assert.equal(await readFile(join(volume.spec.local?.path ?? '', 'file'), 'utf8'), 'first\n');
    await node.client.delete(persistentvolumeclaims, { namespace, name: 'data' });
    await eventually('the volume is gone', async () => {
      const left = await node.client.list(persistentvolumes, {
        fieldSelector: `metadata.name=${volume.metadata.name}`,
      });
      return left.items.length === 0;
    });
    await assert.rejects(stat(volume.spec.local?.path ?? ''), { code: 'ENOENT' });
  });

  it('binds a waiting claim to a volume that its pod can reach', async () => {
    const storageClassName = unique('waiting');
    await node.client.create(storageclasses, undefined, {
      metadata: { name: storageClassName },
      provisioner: 'kubernetes.io/no-provisioner',
      volumeBindingMode: 'WaitForFirstConsumer',
    });
    const namespace = await node.namespace();
    const path = await newDirectory();
    const [here, elsewhere] = [unique('here'), unique('elsewhere')];
    const spec = { local: { path }, storageClassName };
    await node.client.create(persistentvolumes, undefined, volumeDraft(elsewhere, { ...spec, ...onlyOnNode('other') }));
    await node.client.create(persistentvolumeclaims, namespace, claimDraft('data', { storageClassName }));
    const { volumes, volumeMounts } = claimVolume('data');
    await node.createPod(namespace, {
      name: 'waits',
      spec: { restartPolicy: 'Never', volumes, containers: [script('true', { volumeMounts })] },
    });
    await eventually('the scheduler says why', async () => {
      const { status } = await node.pod(namespace, 'waits');
      const message = status?.conditions?.find(({ type }) => type === 'PodScheduled')?.message ?? '';
      return message.startsWith("0/1 nodes are available: 1 node(s) didn't find available persistent volumes to bind.");
    });
    await node.client.create(
      persistentvolumes,
      undefined,
      volumeDraft(here, { ...spec, ...onlyOnNode(node.nodeName) }),
    );
    await node.waitEnded(namespace, 'waits');
    const claim = await node.client.get(persistentvolumeclaims, { namespace, name: 'data' });
    assert.equal(claim.spec.volumeName, here);
  });

  it('makes and removes the claim of a volume that lives as long as its pod', async () => {
    const namespace = await node.namespace();
    const { storageClassName: _, ...rest } = claimDraft('').spec;
    const volumeClaimTemplate = { metadata: { labels: { kind: 'scratch' } }, spec: rest };
    const volumes = [{ name: 'v', ephemeral: { volumeClaimTemplate } }];
    const containers = [script('touch /v/x && ls /v', { volumeMounts: [{ name: 'v', mountPath: '/v' }] })];
    assert.equal(await node.output(namespace, { name: 'brief', spec: { volumes, containers } }), 'x\n');
    const claim = await node.client.get(persistentvolumeclaims, { namespace, name: 'brief-v' });
    assert.equal(claim.metadata.labels?.['kind'], 'scratch');
    await node.client.delete(podResource, { namespace, name: 'brief' });
    await eventually('the claim is gone', async () => {
      const { items } = await node.client.list(persistentvolumeclaims, { namespace });
      return items.length === 0;
    });
  });

  it('refuses a claim that another pod made for itself', async () => {
    const namespace = await node.namespace();
    await node.client.create(
      persistentvolumeclaims,
      namespace,
      claimDraft('taken-v', { storageClassName: unique('none') }),
    );
    const { storageClassName: _, ...rest } = claimDraft('').spec;
    const volumes = [{ name: 'v', ephemeral: { volumeClaimTemplate: { spec: rest } } }];
    const containers = [script('true', { volumeMounts: [{ name: 'v', mountPath: '/v' }] })];
    await node.createPod(namespace, { name: 'taken', spec: { volumes, containers } });
    await eventually('an event says so', async () => {
      const events = await node.events(namespace, 'taken');
      const expected = `PVC ${namespace}/taken-v was not created for pod ${namespace}/taken (pod is not owner)`;
      return events.some(({ message }) => message?.includes(expected));
    });
  });

  it('shows a change of an object in its files without waiting for a poll', async (test) => {
    const namespace = await node.namespace();
    await node.client.create(configmaps, namespace, { metadata: { name: 'c' }, data: { k: '0' } });
    const volumes = [{ name: 'v', configMap: { name: 'c' } }];
    const containers = [
      script('trap exit TERM; sleep 3600 & wait', { volumeMounts: [{ name: 'v', mountPath: '/v' }] }),
    ];
    const { metadata } = await node.createPod(namespace, { name: 'reads', spec: { volumes, containers } });
    await node.waitReady(namespace, 'reads');
    const kubelet = node.cluster.layout.nodes[0]?.kubeletDir ?? '';
    const file = join(kubelet, 'pods', metadata.uid ?? '', 'volumes/kubernetes.io~configmap/v/k');
    const delays: number[] = [];
    for (let round = 1; round <= 30; round += 1) {
      const startedMs = performance.now();
      await node.client.patch(configmaps, { namespace, name: 'c' }, 'merge', { data: { k: `${round}` } });
      await eventually(`version ${round}`, async () => (await readFile(file, 'utf8')) === `${round}`, 5000);
      delays.push(performance.now() - startedMs);
    }
    delays.sort((a, b) => a - b);
    test.diagnostic(`half within ${Math.round(delays[14] ?? 0)} ms, all within ${Math.round(delays.at(-1) ?? 0)} ms`);
  });

  it('makes a filesystem on an empty device, mounts it once, and unmounts it after the last pod', async () => {
    const image = join(await newDirectory(), 'disk.img');
    await execOrThrow(systemExec, 'truncate', ['-s', '16M', image]);
    const device = (await execOrThrow(systemExec, 'losetup', ['-f', '--show', image])).trim();
    try {
      const { namespace, volume } = await boundClaim({ local: { path: device }, ...onlyOnNode(node.nodeName) });
      const { volumes, volumeMounts } = claimVolume('data');
      const keep = 'echo kept >> /v/file; trap exit TERM; sleep 3600 & wait';
      for (const name of ['one', 'two']) {
        await node.createPod(namespace, { name, spec: { volumes, containers: [script(keep, { volumeMounts })] } });
        await node.waitReady(namespace, name);
      }
      const kubelet = node.cluster.layout.nodes[0]?.kubeletDir ?? '';
      const mounted = join(kubelet, 'plugins/kubernetes.io/local-volume/mounts', volume);
      await eventually('both wrote', async () => (await readFile(join(mounted, 'file'), 'utf8')) === 'kept\nkept\n');
      for (const name of ['one', 'two']) {
        await node.client.delete(podResource, { namespace, name });
        await node.waitGone(namespace, name);
        const mounts = await readFile('/proc/self/mountinfo', 'utf8');
        assert.equal(mounts.includes(mounted), name === 'one');
      }
    } finally {
      await execOrThrow(systemExec, 'losetup', ['-d', device]);
    }
  });
});
