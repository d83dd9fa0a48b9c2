// Volumes of a CSI driver of the test's own: registered, staged once, published for each pod, taken back.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { PersistentVolumeSpec, PodSpec } from '#kube/api/generated/core-v1.ts';
import {
  csidrivers,
  csinodes,
  nodes,
  persistentvolumeclaims,
  persistentvolumes,
  pods,
  secrets,
  volumeattachments,
} from '#kube/api/generated/resources.ts';
import type { CSIDriverSpec } from '#kube/api/generated/storage-v1.ts';
import { attachmentName, uniqueVolumeName } from '../../agent/volume/csi/csi-paths.ts';
import { readRunState } from '../../cli/up/run-state.ts';
import { type CsiDriver, type CsiDriverOptions, startCsiDriver } from '../support/csi-driver.ts';
import { clustersUnavailable } from '../support/e2e-cluster.ts';
import { eventually } from '../support/eventually.ts';
import { type NodeCluster, script, startNodeCluster } from '../support/node-cluster.ts';
import { claimDraft, claimVolume, volumeDraft } from '../support/storage-objects.ts';

const sleeper = 'trap exit TERM; sleep 3600 & wait';

describe('volumes of CSI drivers', { skip: clustersUnavailable() ?? false, concurrency: 4 }, () => {
  let node: NodeCluster;
  let directory = '';
  const drivers: CsiDriver[] = [];
  before(async () => {
    node = await startNodeCluster();
    directory = await mkdtemp(join(tmpdir(), 'berth-csi-'));
  });
  after(async () => {
    await node?.[Symbol.asyncDispose]();
    for (const driver of drivers) await driver[Symbol.asyncDispose]();
    if (directory !== '') await rm(directory, { recursive: true, force: true });
  });

  const unique = (name: string) => `${name}-${randomBytes(3).toString('hex')}`;
  const agentRoot = () => node.cluster.layout.nodes[0]?.kubeletDir ?? assert.fail('no node');

  async function startDriver(
    spec: CSIDriverSpec,
    options: Partial<CsiDriverOptions> = {},
  ): Promise<CsiDriver & { name: string }> {
    const name = unique('driver');
    await node.client.create(csidrivers, undefined, { metadata: { name }, spec });
    const dataDir = join(directory, name);
    const driver = await startCsiDriver({ name, agentRoot: agentRoot(), dataDir, ...options });
    drivers.push(driver);
    await eventually('the registration', async () => driver.registered.length > 0);
    assert.deepEqual(driver.registered[0], { pluginRegistered: true, error: '' });
    return Object.assign(driver, { name });
  }

  async function boundClaim(driver: string, handle: string, spec: Partial<PersistentVolumeSpec> = {}): Promise<string> {
    const namespace = await node.namespace();
    const volume = unique('volume');
    const csi = { driver, volumeHandle: handle, ...spec.csi };
    await node.client.create(persistentvolumes, undefined, volumeDraft(volume, { ...spec, csi }));
    const { volumeMode } = spec;
    const claim = claimDraft('data', { volumeName: volume, ...(volumeMode === undefined ? {} : { volumeMode }) });
    await node.client.create(persistentvolumeclaims, namespace, claim);
    return namespace;
  }

  const podSpec = (text: string, spec: Partial<PodSpec> = {}): PodSpec => {
    const { volumes, volumeMounts } = claimVolume('data');
    return { volumes, containers: [script(text, { volumeMounts })], ...spec };
  };

  it('tells the API which drivers the node has', async () => {
    const topology = { 'topology.example.com/rack': 'r1' };
    const driver = await startDriver({ attachRequired: false }, { nodeId: 'id-7', maxVolumes: 5, topology });
    const object = await node.client.get(csinodes, { name: node.nodeName });
    assert.deepEqual(
      object.spec.drivers.find(({ name }) => name === driver.name),
      { name: driver.name, nodeID: 'id-7', topologyKeys: ['topology.example.com/rack'], allocatable: { count: 5 } },
    );
    const { metadata } = await node.client.get(nodes, { name: node.nodeName });
    assert.equal(metadata.labels?.['topology.example.com/rack'], 'r1');
    const ids = JSON.parse(metadata.annotations?.['csi.volume.kubernetes.io/nodeid'] ?? '{}');
    assert.equal(ids[driver.name], 'id-7');
    await driver.stop();
    await eventually('the driver is gone from the CSINode object', async () => {
      const { spec } = await node.client.get(csinodes, { name: node.nodeName });
      return spec.drivers.every(({ name }) => name !== driver.name);
    });
  });

  it('stages a volume once for two pods, publishes it for each, and unstages it after the last', async () => {
    const driver = await startDriver({ attachRequired: false });
    const namespace = await boundClaim(driver.name, 'shared');
    await node.createPod(namespace, { name: 'one', spec: podSpec(`echo one > /v/file; ${sleeper}`) });
    await node.waitReady(namespace, 'one');
    await node.createPod(namespace, { name: 'two', spec: podSpec(`cat /v/file > /v/copy; ${sleeper}`) });
    await node.waitReady(namespace, 'two');
    await eventually(
      'the copy',
      async () => (await readFile(join(driver.dataOf('shared'), 'copy'), 'utf8')) === 'one\n',
    );
    const changes = () => driver.changesOf('shared');
    assert.deepEqual(changes(), ['NodeStageVolume', 'NodePublishVolume', 'NodePublishVolume']);
    const metrics = await node.client.raw<string>({
      method: 'GET',
      path: `/api/v1/nodes/${node.nodeName}/proxy/metrics`,
    });
    const labels = `{namespace="${namespace}",persistentvolumeclaim="data"}`;
    assert.ok(metrics.includes(`kubelet_volume_stats_used_bytes${labels} 400\n`));
    await node.client.delete(pods, { namespace, name: 'one' });
    await node.waitGone(namespace, 'one');
    assert.deepEqual(changes().slice(3), ['NodeUnpublishVolume']);
    await node.client.delete(pods, { namespace, name: 'two' });
    await node.waitGone(namespace, 'two');
    assert.deepEqual(changes().slice(4), ['NodeUnpublishVolume', 'NodeUnstageVolume']);
  });

  it('passes secrets, attributes, facts of the pod and tokens to the driver', async () => {
    const driver = await startDriver({
      attachRequired: false,
      podInfoOnMount: true,
      tokenRequests: [{ audience: 'vault', expirationSeconds: 700 }],
    });
    const namespace = await node.namespace();
    const volume = unique('volume');
    await node.client.create(secrets, namespace, {
      metadata: { name: 'stage' },
      data: { user: Buffer.from('stager').toString('base64') },
    });
    await node.client.create(secrets, namespace, {
      metadata: { name: 'publish' },
      data: { user: Buffer.from('publisher').toString('base64') },
    });
    const csi = {
      driver: driver.name,
      volumeHandle: 'told',
      fsType: 'ext4',
      volumeAttributes: { color: 'blue' },
      nodeStageSecretRef: { name: 'stage', namespace },
      nodePublishSecretRef: { name: 'publish', namespace },
    };
    const mountOptions = ['noatime'];
    await node.client.create(persistentvolumes, undefined, volumeDraft(volume, { csi, mountOptions }));
    await node.client.create(persistentvolumeclaims, namespace, claimDraft('data', { volumeName: volume }));
    await node.output(namespace, { name: 'reader', spec: podSpec('ls /v') });
    const [stage] = driver.requestsOf('NodeStageVolume', 'told');
    assert.deepEqual(stage?.['secrets'], { user: 'stager' });
    assert.deepEqual(stage?.['volumeCapability'], {
      accessMode: { mode: 'SINGLE_NODE_WRITER' },
      mount: { fsType: 'ext4', mountFlags: ['noatime'], volumeMountGroup: '' },
      accessType: 'mount',
    });
    const [publish] = driver.requestsOf('NodePublishVolume', 'told');
    assert.deepEqual(publish?.['secrets'], { user: 'publisher' });
    const context = (publish?.['volumeContext'] ?? {}) as Record<string, string>;
    assert.equal(context['color'], 'blue');
    assert.equal(context['csi.storage.k8s.io/pod.name'], 'reader');
    assert.equal(context['csi.storage.k8s.io/pod.namespace'], namespace);
    assert.equal(context['csi.storage.k8s.io/serviceAccount.name'], 'default');
    assert.equal(context['csi.storage.k8s.io/ephemeral'], 'false');
    const tokens = JSON.parse(context['csi.storage.k8s.io/serviceAccount.tokens'] ?? '{}');
    assert.equal(tokens.vault.token.split('.').length, 3);
    assert.ok(Date.parse(tokens.vault.expirationTimestamp) > Date.now());
  });

  it('waits until a volume is attached, and says that it uses it', async () => {
    const driver = await startDriver({ attachRequired: true });
    const namespace = await boundClaim(driver.name, 'far');
    const name = uniqueVolumeName(driver.name, 'far');
    await node.createPod(namespace, { name: 'waits', spec: podSpec(sleeper) });
    await eventually('the volume is told to be in use', async () => {
      const found = await node.client.get(nodes, { name: node.nodeName });
      return found.status?.volumesInUse?.includes(name);
    });
    assert.deepEqual(driver.methodsOf('far'), []);
    const attachment = attachmentName('far', driver.name, node.nodeName);
    const asked = await eventually('the attacher is asked', () =>
      node.client.get(volumeattachments, { name: attachment }),
    );
    assert.equal(asked.spec.attacher, driver.name);
    const status = { attached: true, attachmentMetadata: { path: '/dev/far' } };
    await node.client.updateSubresource(volumeattachments, { ...asked, status }, 'status');
    await node.waitReady(namespace, 'waits');
    assert.deepEqual(driver.requestsOf('NodeStageVolume', 'far')[0]?.['publishContext'], { path: '/dev/far' });
    await node.client.delete(pods, { namespace, name: 'waits' });
    await node.waitGone(namespace, 'waits');
    const { status: after } = await node.client.get(nodes, { name: node.nodeName });
    assert.equal(after?.volumesInUse?.includes(name) ?? false, false);
    await eventually('the volume is detached', async () => {
      const { items } = await node.client.list(volumeattachments, {});
      return items.every(({ metadata }) => metadata.name !== attachment);
    });
    const events = await node.events(namespace, 'waits');
    assert.ok(events.some(({ reason }) => reason === 'SuccessfulAttachVolume'));
  });

  it('gives a volume to a pod that lives as long as the pod', async () => {
    const driver = await startDriver({
      attachRequired: false,
      volumeLifecycleModes: ['Ephemeral'],
      podInfoOnMount: true,
    });
    const namespace = await node.namespace();
    const csi = { driver: driver.name, volumeAttributes: { size: '1' } };
    const volumes = [{ name: 'v', csi }];
    const containers = [script('touch /v/x; ls /v', { volumeMounts: [{ name: 'v', mountPath: '/v' }] })];
    await node.output(namespace, { name: 'brief', spec: { volumes, containers } });
    const [publish] = driver.requestsOf('NodePublishVolume');
    assert.match(String(publish?.['volumeId']), /^csi-[0-9a-f]{64}$/);
    assert.equal(
      (publish?.['volumeContext'] as Record<string, string> | undefined)?.['csi.storage.k8s.io/ephemeral'],
      'true',
    );
    await eventually('it is taken back', async () => driver.requestsOf('NodeUnpublishVolume').length > 0);
    assert.equal(driver.requestsOf('NodeStageVolume').length, 0);
  });

  for (const [policy, group] of [
    ['File', '4321'],
    ['None', '0'],
    ['ReadWriteOnceWithFSType', '0'],
  ] as const) {
    it(`leaves files to the group ${group} under the policy ${policy} for a volume without fsType`, async () => {
      const driver = await startDriver({ attachRequired: false, fsGroupPolicy: policy });
      const namespace = await boundClaim(driver.name, 'grouped');
      const spec = podSpec('stat -c %g /v', { securityContext: { fsGroup: 4321 } });
      assert.equal(await node.output(namespace, { spec }), `${group}\n`);
    });
  }

  it('leaves the group to a driver that can give it', async () => {
    const capabilities = ['STAGE_UNSTAGE_VOLUME', 'VOLUME_MOUNT_GROUP'];
    const driver = await startDriver({ attachRequired: false, fsGroupPolicy: 'File' }, { capabilities });
    const namespace = await boundClaim(driver.name, 'delegated');
    const spec = podSpec('stat -c %g /v', { securityContext: { fsGroup: 4321 } });
    assert.equal(await node.output(namespace, { spec }), '0\n');
    const capability = driver.requestsOf('NodePublishVolume')[0]?.['volumeCapability'];
    assert.equal((capability as { mount: { volumeMountGroup: string } }).mount.volumeMountGroup, '4321');
  });

  it('shows a raw device to a container', async () => {
    const driver = await startDriver({ attachRequired: false });
    const namespace = await boundClaim(driver.name, 'raw', { volumeMode: 'Block' });
    const volumes = [{ name: 'v', persistentVolumeClaim: { claimName: 'data' } }];
    const volumeDevices = [{ name: 'v', devicePath: '/dev/own' }];
    const text = `ls -l /dev/own 2>&1; test -b /dev/own && printf hello > /dev/own && sync && echo written; ${sleeper}`;
    await node.createPod(namespace, { name: 'raw', spec: { volumes, containers: [script(text, { volumeDevices })] } });
    await node.waitReady(namespace, 'raw');
    await eventually('the text', async () => (await node.logs(namespace, 'raw')).includes('written'));
    assert.match((await readFile(`${driver.dataOf('raw')}.img`)).subarray(0, 5).toString(), /hello/);
    await node.client.delete(pods, { namespace, name: 'raw' });
    await node.waitGone(namespace, 'raw');
    assert.deepEqual(driver.changesOf('raw'), [
      'NodeStageVolume',
      'NodePublishVolume',
      'NodeUnpublishVolume',
      'NodeUnstageVolume',
    ]);
  });

  it('lets the driver grow a volume that became larger, and tells the claim', async () => {
    const driver = await startDriver({ attachRequired: false });
    const namespace = await boundClaim(driver.name, 'grows');
    const read = () => node.client.get(persistentvolumeclaims, { namespace, name: 'data' });
    const bound = await eventually('the claim is bound', async () => {
      const claim = await read();
      return claim.status?.phase === 'Bound' && claim;
    });
    const grown = { spec: { capacity: { storage: '20Mi' } } };
    await node.client.patch(persistentvolumes, { name: bound.spec.volumeName ?? '' }, 'merge', grown);
    await node.output(namespace, { spec: podSpec('true') });
    const [request] = driver.requestsOf('NodeExpandVolume', 'grows');
    const range = request?.['capacityRange'] as { requiredBytes: number } | undefined;
    assert.equal(range?.requiredBytes, 20 * 1024 * 1024);
    assert.deepEqual((await read()).status?.capacity, { storage: '20Mi' });
  });

  it('says what the driver refused, and goes on when it does no longer', async () => {
    const driver = await startDriver({ attachRequired: false });
    const namespace = await boundClaim(driver.name, 'stubborn');
    driver.fail('NodeStageVolume', 'no space');
    await node.createPod(namespace, { name: 'waits', spec: podSpec(sleeper) });
    const { spec } = await node.client.get(persistentvolumeclaims, { namespace, name: 'data' });
    const expected = `MountVolume.MountDevice failed for volume "${spec.volumeName}" : rpc error: code = Internal desc = no space`;
    await eventually('the event', async () =>
      (await node.events(namespace, 'waits')).some(({ message }) => message === expected),
    );
    driver.fail('NodeStageVolume', undefined);
    await node.waitReady(namespace, 'waits');
  });

  it('lets a pod end as soon as its driver is back', async () => {
    const driver = await startDriver({ attachRequired: false });
    const namespace = await boundClaim(driver.name, 'away');
    await node.createPod(namespace, { name: 'ends', spec: podSpec(sleeper) });
    await node.waitReady(namespace, 'ends');
    await driver.stop();
    await eventually('the driver is gone', async () => {
      const { spec } = await node.client.get(csinodes, { name: node.nodeName });
      return spec.drivers.every(({ name }) => name !== driver.name);
    });
    await node.client.delete(pods, { namespace, name: 'ends' });
    await node.waitForPod(namespace, 'ends', 'its containers have ended', ({ status }) =>
      (status?.containerStatuses ?? []).every(({ state }) => state?.terminated !== undefined),
    );
    await driver.start();
    await node.waitGone(namespace, 'ends', 5000);
    assert.deepEqual(driver.changesOf('away').slice(-2), ['NodeUnpublishVolume', 'NodeUnstageVolume']);
  });

  it('mounts as soon as a missing driver registers', async () => {
    const driver = await startDriver({ attachRequired: false });
    await driver.stop();
    await eventually('the driver is gone', async () => {
      const { spec } = await node.client.get(csinodes, { name: node.nodeName });
      return spec.drivers.every(({ name }) => name !== driver.name);
    });
    const namespace = await boundClaim(driver.name, 'late');
    await node.createPod(namespace, { name: 'waits', spec: podSpec(sleeper) });
    await eventually('the event', async () =>
      (await node.events(namespace, 'waits')).some(({ message }) =>
        message?.includes(`driver name ${driver.name} not found in the list of registered CSI drivers`),
      ),
    );
    await driver.start();
    await node.waitReady(namespace, 'waits');
  });
});

describe('volumes of CSI drivers across a restart of the agent', { skip: clustersUnavailable() ?? false }, () => {
  it('publishes nothing again, and takes everything back after it', async () => {
    await using node = await startNodeCluster();
    const directory = await mkdtemp(join(tmpdir(), 'berth-csi-'));
    const agentRoot = node.cluster.layout.nodes[0]?.kubeletDir ?? '';
    await using driver = await startCsiDriver({ name: 'again', agentRoot, dataDir: directory });
    await node.client.create(csidrivers, undefined, { metadata: { name: 'again' }, spec: { attachRequired: false } });
    await node.client.create(
      persistentvolumes,
      undefined,
      volumeDraft('v', { csi: { driver: 'again', volumeHandle: 'h' } }),
    );
    const namespace = await node.namespace();
    await node.client.create(persistentvolumeclaims, namespace, claimDraft('data', { volumeName: 'v' }));
    const { volumes, volumeMounts } = claimVolume('data');
    await node.createPod(namespace, {
      name: 'stays',
      spec: { volumes, containers: [script(sleeper, { volumeMounts })] },
    });
    await node.waitReady(namespace, 'stays');
    const running = async () => {
      const state = await readRunState(node.cluster.layout.stateFile);
      return state?.processes.find(({ name }) => name.startsWith('agent'))?.pid;
    };
    const before = (await running()) ?? assert.fail('no agent');
    process.kill(before, 'SIGKILL');
    await eventually('another agent', async () => ![before, undefined].includes(await running()));
    await eventually('the driver is registered again', async () => driver.registered.length > 1);
    assert.equal((await node.pod(namespace, 'stays')).status?.containerStatuses?.[0]?.restartCount, 0);
    assert.deepEqual(driver.changesOf('h'), ['NodeStageVolume', 'NodePublishVolume']);
    await node.client.delete(pods, { namespace, name: 'stays' });
    await node.waitGone(namespace, 'stays');
    assert.deepEqual(driver.changesOf('h').slice(2), ['NodeUnpublishVolume', 'NodeUnstageVolume']);
    await rm(directory, { recursive: true, force: true });
  });
});
