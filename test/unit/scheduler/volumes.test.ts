import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { PersistentVolume, PersistentVolumeClaim, Pod } from '#kube/api/generated/core-v1.ts';
import type { CSINode, StorageClass } from '#kube/api/generated/storage-v1.ts';
import { addPod, createNodeInfo } from '../../../control-plane-lite/scheduler/cache/node-info.ts';
import { createPodInfo } from '../../../control-plane-lite/scheduler/framework/pod-info.ts';
import { planVolumes } from '../../../control-plane-lite/scheduler/volumes/plan-volumes.ts';
import type { StorageView } from '../../../control-plane-lite/scheduler/volumes/storage-view.ts';
import { node, pod } from '../../support/objects.ts';

const hostname = (value: string) => ({
  required: {
    nodeSelectorTerms: [{ matchExpressions: [{ key: 'kubernetes.io/hostname', operator: 'In', values: [value] }] }],
  },
});

function claim(name: string, spec: Partial<PersistentVolumeClaim['spec']> = {}, bound = false): PersistentVolumeClaim {
  return {
    apiVersion: 'v1',
    kind: 'PersistentVolumeClaim',
    metadata: {
      name,
      namespace: 'default',
      uid: name,
      ...(bound ? { annotations: { 'pv.kubernetes.io/bind-completed': 'yes' } } : {}),
    },
    spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '1Gi' } }, ...spec },
    status: { phase: bound ? 'Bound' : 'Pending' },
  };
}

function volume(name: string, spec: Partial<PersistentVolume['spec']> = {}, labels = {}): PersistentVolume {
  return {
    apiVersion: 'v1',
    kind: 'PersistentVolume',
    metadata: { name, labels },
    spec: { accessModes: ['ReadWriteOnce'], capacity: { storage: '1Gi' }, ...spec },
    status: { phase: 'Available' },
  };
}

function storageClass(name: string, provisioner: string, fields: Partial<StorageClass> = {}): StorageClass {
  return {
    apiVersion: 'storage.k8s.io/v1',
    kind: 'StorageClass',
    metadata: { name },
    provisioner,
    volumeBindingMode: 'WaitForFirstConsumer',
    ...fields,
  };
}

interface Cluster {
  claims?: PersistentVolumeClaim[];
  volumes?: PersistentVolume[];
  classes?: StorageClass[];
  csiNodes?: CSINode[];
  taken?: string[];
}

function viewOf({ claims = [], volumes = [], classes = [], csiNodes = [], taken = [] }: Cluster): StorageView {
  return {
    claims: { get: (key) => claims.find(({ metadata }) => `default/${metadata.name}` === key) },
    volumes: { get: (key) => volumes.find(({ metadata }) => metadata.name === key), list: () => volumes },
    classes: { get: (key) => classes.find(({ metadata }) => metadata.name === key) },
    csiNodes: { get: (key) => csiNodes.find(({ metadata }) => metadata.name === key) },
    taken: new Set(taken),
  };
}

const using = (...names: string[]): Pod =>
  pod('p', {
    spec: { volumes: names.map((claimName) => ({ name: claimName, persistentVolumeClaim: { claimName } })) },
  });
const n1 = () => createNodeInfo(node('n1', { labels: { 'topology.kubernetes.io/zone': 'z1' } }));

describe('planVolumes', () => {
  const problems: [string, Pod, Cluster, string | undefined][] = [
    ['a claim that is missing', using('c'), {}, 'persistentvolumeclaim "c" not found'],
    [
      'a claim that nobody bound',
      using('c'),
      { claims: [claim('c')] },
      'pod has unbound immediate PersistentVolumeClaims',
    ],
    [
      'a claim whose volume is gone',
      using('c'),
      { claims: [claim('c', { volumeName: 'v' }, true)] },
      'persistentvolumeclaim "c" bound to non-existent persistentvolume "v"',
    ],
    [
      'a volume of the pod without a claim yet',
      pod('p', { spec: { volumes: [{ name: 'v', ephemeral: {} }] } }),
      {},
      'waiting for ephemeral volume controller to create the persistentvolumeclaim "p-v"',
    ],
    ['nothing', using('c'), { claims: [claim('c', { volumeName: 'v' }, true)], volumes: [volume('v')] }, undefined],
  ];
  for (const [what, user, cluster, expected] of problems) {
    it(`sees ${what} as the problem`, () => assert.equal(planVolumes(user, viewOf(cluster)).problem, expected));
  }

  const csi = { driver: 'd', volumeHandle: 'h' };
  const bound = claim('c', { volumeName: 'v' }, true);
  const delayed = claim('c', { storageClassName: 's' });
  const refusals: [string, Cluster, string | undefined][] = [
    ['can reach the volume', { claims: [bound], volumes: [volume('v', { nodeAffinity: hostname('n1') })] }, undefined],
    [
      'cannot reach the volume',
      { claims: [bound], volumes: [volume('v', { nodeAffinity: hostname('n2') })] },
      "node(s) didn't match PersistentVolume's node affinity",
    ],
    [
      'is in another zone',
      { claims: [bound], volumes: [volume('v', {}, { 'topology.kubernetes.io/zone': 'z2' })] },
      'node(s) had no available volume zone',
    ],
    [
      'has a free volume',
      {
        claims: [delayed],
        volumes: [volume('v', { storageClassName: 's', nodeAffinity: hostname('n1') })],
        classes: [storageClass('s', 'kubernetes.io/no-provisioner')],
      },
      undefined,
    ],
    [
      'has no free volume, and nobody makes one',
      { claims: [delayed], classes: [storageClass('s', 'kubernetes.io/no-provisioner')] },
      "node(s) didn't find available persistent volumes to bind",
    ],
    [
      'has only a volume that was given away',
      {
        claims: [delayed],
        volumes: [volume('v', { storageClassName: 's' })],
        classes: [storageClass('s', 'kubernetes.io/no-provisioner')],
        taken: ['v'],
      },
      "node(s) didn't find available persistent volumes to bind",
    ],
    ['can be given a new volume', { claims: [delayed], classes: [storageClass('s', 'made.example')] }, undefined],
    [
      'is outside of the topology of the class',
      {
        claims: [delayed],
        classes: [
          storageClass('s', 'made.example', {
            allowedTopologies: [{ matchLabelExpressions: [{ key: 'topology.kubernetes.io/zone', values: ['z2'] }] }],
          }),
        ],
      },
      "node(s) didn't find available persistent volumes to bind",
    ],
  ];
  for (const [what, cluster, expected] of refusals) {
    it(`${expected === undefined ? 'takes' : 'refuses'} a node that ${what}`, () =>
      assert.equal(planVolumes(using('c'), viewOf(cluster)).refuse(n1())?.reasons[0], expected));
  }

  it('counts the volumes of a driver on the node', () => {
    const info = n1();
    const other = pod('other', { spec: { volumes: [{ name: 'o', persistentVolumeClaim: { claimName: 'o' } }] } });
    addPod(info, createPodInfo(other));
    const driver = { name: 'd', nodeID: 'x', allocatable: { count: 1 } };
    const csiNode = (count: number): CSINode => ({
      apiVersion: 'storage.k8s.io/v1',
      kind: 'CSINode',
      metadata: { name: 'n1' },
      spec: { drivers: [{ ...driver, allocatable: { count } }] },
    });
    const cluster = {
      claims: [bound, claim('o', { volumeName: 'w' }, true)],
      volumes: [volume('v', { csi }), volume('w', { csi: { driver: 'd', volumeHandle: 'w' } })],
    };
    const refusal = (count: number) =>
      planVolumes(using('c'), viewOf({ ...cluster, csiNodes: [csiNode(count)] })).refuse(info)?.reasons[0];
    assert.equal(refusal(1), 'node(s) exceed max volume count');
    assert.equal(refusal(2), undefined);
  });

  it('gives a claim for one pod to one pod', () => {
    const sole = claim('c', { volumeName: 'v', accessModes: ['ReadWriteOncePod'] }, true);
    const view = viewOf({ claims: [sole], volumes: [volume('v')] });
    const users = (count: number) => planVolumes(using('c'), view, undefined, () => count);
    assert.equal(users(0).refuse(n1()), undefined);
    assert.match(users(1).refuse(n1())?.reasons[0] ?? '', /ReadWriteOncePod access mode/);
    const holder = createPodInfo(pod('holder', { spec: using('c').spec }));
    assert.equal(users(1).refuse(n1(), [holder]), undefined);
  });

  it('says what to bind and what to make, each volume once', () => {
    const view = viewOf({
      claims: [claim('a', { storageClassName: 's' }), claim('b', { storageClassName: 's' })],
      volumes: [volume('v', { storageClassName: 's' })],
      classes: [storageClass('s', 'made.example')],
    });
    const { bind, provision } = planVolumes(using('a', 'b'), view).workFor(n1());
    assert.deepEqual(
      [bind.map(({ claim: { metadata }, volume: given }) => [metadata.name, given.metadata.name]), provision.length],
      [[['a', 'v']], 1],
    );
  });

  it('goes on with the node for which a volume is being made', () => {
    const asked = claim('c', { storageClassName: 's' });
    asked.metadata.annotations = { 'volume.kubernetes.io/selected-node': 'n2' };
    const view = viewOf({ claims: [asked], classes: [storageClass('s', 'made.example')] });
    assert.match(planVolumes(using('c'), view).refuse(n1())?.reasons[0] ?? '', /persistent volumes to bind/);
    assert.equal(planVolumes(using('c'), view).refuse(createNodeInfo(node('n2'))), undefined);
  });
});
