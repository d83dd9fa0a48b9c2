import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Node, PersistentVolume, PersistentVolumeClaim } from '#kube/api/generated/core-v1.ts';
import type { CSIDriver, StorageClass, VolumeAttachment } from '#kube/api/generated/storage-v1.ts';
import { selectVolume, volumeMismatch } from '#kube/api/persistent-volumes.ts';
import {
  claimProblem,
  helperPod,
  localVolume,
} from '../../../control-plane-lite/addons/local-volumes/plan-local-volume.ts';
import { attachmentName } from '../../../control-plane-lite/controllers/attach-detach/attach-detach-controller.ts';
import {
  type AttachmentInputs,
  attachedVolumes,
  planAttachments,
  uniqueName,
} from '../../../control-plane-lite/controllers/attach-detach/plan-attachments.ts';
import { ephemeralClaim } from '../../../control-plane-lite/controllers/ephemeral-volume/ephemeral-volume-controller.ts';
import {
  type ClaimInputs,
  planClaim,
} from '../../../control-plane-lite/controllers/persistent-volume-binder/plan-claim.ts';
import { planVolume } from '../../../control-plane-lite/controllers/persistent-volume-binder/plan-volume.ts';
import { asksForMore } from '../../../control-plane-lite/controllers/volume-expander/volume-expander.ts';
import { node, pod } from '../../support/objects.ts';

type ClaimFields = {
  spec?: Partial<PersistentVolumeClaim['spec']>;
  annotations?: Record<string, string>;
  phase?: string;
};

function claim(name: string, { spec, annotations = {}, phase = 'Pending' }: ClaimFields = {}): PersistentVolumeClaim {
  return {
    apiVersion: 'v1',
    kind: 'PersistentVolumeClaim',
    metadata: { name, namespace: 'shop', uid: `uid-${name}`, annotations },
    spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '1Gi' } }, ...spec },
    status: { phase },
  };
}

function volume(
  name: string,
  spec: Partial<PersistentVolume['spec']> = {},
  fields: { phase?: string; annotations?: Record<string, string>; labels?: Record<string, string> } = {},
): PersistentVolume {
  const { phase = 'Available', annotations = {}, labels = {} } = fields;
  return {
    apiVersion: 'v1',
    kind: 'PersistentVolume',
    metadata: { name, annotations, labels },
    spec: { accessModes: ['ReadWriteOnce'], capacity: { storage: '1Gi' }, ...spec },
    status: { phase },
  };
}

const refTo = (owner: PersistentVolumeClaim) => ({
  namespace: 'shop',
  name: owner.metadata.name,
  uid: owner.metadata.uid,
});
const storageClass = (fields: Partial<StorageClass> = {}): StorageClass => ({
  apiVersion: 'storage.k8s.io/v1',
  kind: 'StorageClass',
  metadata: { name: 'fast' },
  provisioner: 'made.example',
  ...fields,
});

describe('selectVolume', () => {
  const wanting = claim('c');
  const cases: [string, PersistentVolume[], string | undefined][] = [
    [
      'takes the smallest that is large enough',
      [volume('big', { capacity: { storage: '5Gi' } }), volume('fits')],
      'fits',
    ],
    ['takes none that is too small', [volume('small', { capacity: { storage: '1Mi' } })], undefined],
    ['takes none of another class', [volume('other', { storageClassName: 'x' })], undefined],
    ['takes none of another mode', [volume('raw', { volumeMode: 'Block' })], undefined],
    ['takes none that cannot be used as asked', [volume('ro', { accessModes: ['ReadOnlyMany'] })], undefined],
    [
      'takes none that belongs to another claim',
      [volume('theirs', { claimRef: { namespace: 'a', name: 'b' } })],
      undefined,
    ],
    ['takes none that is released', [volume('old', {}, { phase: 'Released' })], undefined],
    [
      'prefers the one that names the claim',
      [volume('free'), volume('named', { capacity: { storage: '9Gi' }, claimRef: { namespace: 'shop', name: 'c' } })],
      'named',
    ],
  ];
  for (const [what, volumes, expected] of cases) {
    it(what, () => assert.equal(selectVolume(wanting, volumes)?.metadata.name, expected));
  }

  it('follows the selector of the claim', () => {
    const choosy = claim('c', { spec: { selector: { matchLabels: { kind: 'ssd' } } } });
    const volumes = [volume('disk'), volume('ssd', {}, { labels: { kind: 'ssd' } })];
    assert.equal(selectVolume(choosy, volumes)?.metadata.name, 'ssd');
  });

  it('takes one that the node can reach, and none that was given away', () => {
    const matchExpressions = [{ key: 'kubernetes.io/hostname', operator: 'In', values: ['n1'] }];
    const local = volume('local', { nodeAffinity: { required: { nodeSelectorTerms: [{ matchExpressions }] } } });
    assert.equal(selectVolume(wanting, [local], { node: node('n1') })?.metadata.name, 'local');
    assert.equal(selectVolume(wanting, [local], { node: node('n2') }), undefined);
    assert.equal(selectVolume(wanting, [local], { taken: new Set(['local']) }), undefined);
  });

  it('says why a volume does not suit', () =>
    assert.equal(volumeMismatch(volume('v', { volumeMode: 'Block' }), wanting), 'incompatible volumeMode'));
});

describe('planClaim', () => {
  const plan = (fields: ClaimFields, inputs: Partial<ClaimInputs> = {}) =>
    planClaim({ claim: claim('c', fields), volumes: [], storageClass: undefined, waitingPod: undefined, ...inputs });
  const complete = { 'pv.kubernetes.io/bind-completed': 'yes' };

  it('binds a volume that suits', () => assert.equal(plan({}, { volumes: [volume('v')] }).type, 'bind'));

  it('waits where there is neither volume nor class', () =>
    assert.deepEqual(plan({}), {
      type: 'wait',
      event: {
        type: 'Normal',
        reason: 'FailedBinding',
        message: 'no persistent volumes available for this claim and no storage class is set',
      },
    }));

  it('asks the provisioner of the class', () =>
    assert.deepEqual(plan({ spec: { storageClassName: 'fast' } }, { storageClass: storageClass() }), {
      type: 'provision',
      provisioner: 'made.example',
    }));

  it('gives the default class to a claim that names none, unless there is a volume for it', () => {
    assert.deepEqual(plan({}, { defaultClass: 'usual' }), { type: 'assignClass', name: 'usual' });
    assert.equal(plan({}, { defaultClass: 'usual', volumes: [volume('v')] }).type, 'bind');
    assert.equal(plan({ spec: { storageClassName: '' } }, { defaultClass: 'usual' }).type, 'wait');
  });

  it('says that the class is missing', () => {
    const action = plan({ spec: { storageClassName: 'fast' } });
    assert.ok(action.type === 'wait');
    assert.equal(action.event?.message, 'storageclass.storage.k8s.io "fast" not found');
  });

  it('waits for a pod where the class says so, and provisions once it has a node', () => {
    const delayed = storageClass({ volumeBindingMode: 'WaitForFirstConsumer' });
    const spec = { storageClassName: 'fast' };
    const reason = (action: ReturnType<typeof plan>) => (action.type === 'wait' ? action.event?.reason : action.type);
    assert.equal(reason(plan({ spec }, { storageClass: delayed })), 'WaitForFirstConsumer');
    assert.equal(reason(plan({ spec }, { storageClass: delayed, waitingPod: 'p' })), 'WaitForPodScheduled');
    const free = volume('v', { storageClassName: 'fast' });
    assert.equal(reason(plan({ spec }, { storageClass: delayed, volumes: [free] })), 'WaitForFirstConsumer');
    const annotations = { 'volume.kubernetes.io/selected-node': 'n1' };
    assert.equal(reason(plan({ spec, annotations }, { storageClass: delayed })), 'provision');
  });

  it('binds the volume that the claim names, if it can', () => {
    const spec = { volumeName: 'v' };
    assert.equal(plan({ spec }, { volumes: [volume('v')] }).type, 'bind');
    assert.equal(plan({ spec }).type, 'wait');
    const theirs = volume('v', { claimRef: { namespace: 'a', name: 'b' } });
    const taken = plan({ spec }, { volumes: [theirs] });
    assert.ok(taken.type === 'wait');
    assert.equal(taken.event?.message, 'volume "v" already bound to a different claim.');
    const small = plan({ spec }, { volumes: [volume('v', { capacity: { storage: '1' } })] });
    assert.ok(small.type === 'wait');
    assert.equal(small.event?.message, 'Cannot bind to requested volume "v": requested PV is too small');
  });

  it('loses a claim whose volume is gone or belongs to another', () => {
    const spec = { volumeName: 'v' };
    const reason = (volumes: PersistentVolume[]) => {
      const action = plan({ spec, annotations: complete, phase: 'Bound' }, { volumes });
      return action.type === 'lose' ? action.event.reason : action.type;
    };
    assert.equal(reason([]), 'ClaimLost');
    assert.equal(reason([volume('v', { claimRef: { namespace: 'shop', name: 'c', uid: 'other' } })]), 'ClaimMisbound');
    assert.equal(reason([volume('v', { claimRef: refTo(claim('c')) })]), 'bind');
  });
});

describe('planVolume', () => {
  const owner = claim('c', { spec: { volumeName: 'v' } });
  const owned = (fields: Partial<PersistentVolume['spec']> = {}) => ({ claimRef: refTo(owner), ...fields });
  const made = { 'pv.kubernetes.io/provisioned-by': 'made.example' };
  const cases: [string, PersistentVolume, PersistentVolumeClaim | undefined, object[]][] = [
    [
      'makes a new volume available',
      volume('v', {}, { phase: 'Pending' }),
      undefined,
      [{ type: 'phase', phase: 'Available' }],
    ],
    ['leaves a free volume alone', volume('v'), undefined, []],
    ['leaves a bound volume alone', volume('v', owned(), { phase: 'Bound' }), owner, []],
    ['completes a binding', volume('v', owned()), owner, [{ type: 'tellClaim' }]],
    [
      'releases a volume whose claim is gone',
      volume('v', owned(), { phase: 'Bound' }),
      undefined,
      [{ type: 'phase', phase: 'Released' }],
    ],
    [
      'leaves the deletion of a made volume to who made it',
      volume('v', owned({ persistentVolumeReclaimPolicy: 'Delete' }), { phase: 'Released', annotations: made }),
      undefined,
      [],
    ],
    [
      'deletes a made volume whose claim took another',
      volume('v', owned({ persistentVolumeReclaimPolicy: 'Delete' }), { phase: 'Bound', annotations: made }),
      claim('c', { spec: { volumeName: 'other' } }),
      [{ type: 'delete' }],
    ],
    [
      'takes back a volume that it gave to a claim which took another',
      volume('v', owned(), { annotations: { 'pv.kubernetes.io/bound-by-controller': 'yes' } }),
      claim('c', { spec: { volumeName: 'other' } }),
      [{ type: 'unbind' }],
    ],
  ];
  for (const [what, given, named, expected] of cases)
    it(what, () => assert.deepEqual(planVolume(given, named), expected));
});

describe('planAttachments', () => {
  const csi = { driver: 'd', volumeHandle: 'h' };
  const owner = claim('c', { spec: { volumeName: 'v' }, phase: 'Bound' });
  const attachable = (spec: Partial<PersistentVolume['spec']> = {}) =>
    volume('v', { csi, claimRef: refTo(owner), ...spec });
  const user = (name: string, nodeName: string) =>
    pod(name, {
      metadata: { namespace: 'shop' },
      spec: { nodeName, volumes: [{ name: 'v', persistentVolumeClaim: { claimName: 'c' } }] },
    });
  const attachment = (nodeName: string, attached = true): VolumeAttachment => ({
    apiVersion: 'storage.k8s.io/v1',
    kind: 'VolumeAttachment',
    metadata: { name: attachmentName('h', 'd', nodeName) },
    spec: { attacher: 'd', nodeName, source: { persistentVolumeName: 'v' } },
    status: { attached },
  });
  const inputs = (fields: Partial<AttachmentInputs> & { given?: PersistentVolume } = {}): AttachmentInputs => ({
    pods: [user('p', 'n1')],
    claim: () => owner,
    volume: (name) => (name === 'v' ? (fields.given ?? attachable()) : undefined),
    driver: () => undefined,
    node: (name) => node(name),
    attachments: [],
    nameOf: attachmentName,
    nowMs: Date.parse('2026-01-01T12:00:00Z'),
    ...fields,
  });

  it('attaches a volume once for all pods of a node', () => {
    const plan = planAttachments(inputs({ pods: [user('p', 'n1'), user('q', 'n1')] }));
    assert.deepEqual(
      plan.attach.map(({ node: target, volume: name }) => [target, name]),
      [['n1', 'v']],
    );
  });

  it('leaves drivers alone that need no attachment', () => {
    const driver = { spec: { attachRequired: false } } as CSIDriver;
    assert.deepEqual(planAttachments(inputs({ driver: () => driver })).attach, []);
  });

  it('lets a volume for one node wait while another node has it', () => {
    const plan = planAttachments(inputs({ attachments: [attachment('n2')] }));
    assert.deepEqual([plan.attach.length, plan.blocked[0]?.by], [0, 'n2']);
    const shared = attachable({ accessModes: ['ReadWriteMany'] });
    assert.equal(planAttachments(inputs({ attachments: [attachment('n2')], given: shared })).attach.length, 1);
  });

  it('detaches what no pod needs, once the node says that it does not use it', () => {
    const using = { ...node('n2'), status: { volumesInUse: [uniqueName('d', 'h')] } } as Node;
    const left = inputs({ pods: [], attachments: [attachment('n2')] });
    assert.equal(planAttachments({ ...left, node: () => using }).detach.length, 0);
    assert.equal(planAttachments(left).detach.length, 1);
    assert.equal(planAttachments({ ...left, node: () => undefined }).detach.length, 1);
  });

  it('takes a volume from a node that is out of service at once, and from a silent one after six minutes', () => {
    const lost = (sinceMinutes: number, taints: { key: string; effect: string }[] = []) => {
      const lastTransitionTime = new Date(Date.parse('2026-01-01T12:00:00Z') - sinceMinutes * 60_000).toISOString();
      const status = {
        volumesInUse: [uniqueName('d', 'h')],
        conditions: [{ type: 'Ready', status: 'Unknown', lastTransitionTime }],
      };
      return { ...node('n2', { spec: { taints } }), status } as Node;
    };
    const left = inputs({ pods: [], attachments: [attachment('n2')] });
    const detachedFrom = (from: Node) => planAttachments({ ...left, node: () => from }).detach.length;
    assert.equal(detachedFrom(lost(5)), 0);
    assert.equal(detachedFrom(lost(7)), 1);
    assert.equal(detachedFrom(lost(1, [{ key: 'node.kubernetes.io/out-of-service', effect: 'NoExecute' }])), 1);
  });

  it('leaves alone what somebody else attached', () => {
    const inline = { ...attachment('n1'), spec: { ...attachment('n1').spec, source: {} } };
    const named = { ...attachment('n1'), metadata: { name: 'by-hand' } };
    assert.deepEqual(planAttachments(inputs({ pods: [], attachments: [inline, named] })).detach, []);
    const gone = inputs({ pods: [], attachments: [attachment('n1')], volume: () => undefined });
    assert.deepEqual(planAttachments(gone).detach, []);
  });

  it('tells a node which volumes are attached', () => {
    const attachments = [attachment('n1'), attachment('n2'), { ...attachment('n1', false), metadata: { name: 'x' } }];
    assert.deepEqual(attachedVolumes('n1', { attachments, volume: () => attachable() }), [
      { name: 'kubernetes.io/csi/d^h', devicePath: '' },
    ]);
  });
});

describe('ephemeralClaim', () => {
  it("belongs to its pod and has the template's labels", () => {
    const owner = pod('p');
    const volumeClaimTemplate = { metadata: { labels: { a: 'b' } }, spec: claim('x').spec };
    const made = ephemeralClaim(owner, { name: 'v', ephemeral: { volumeClaimTemplate } });
    assert.equal(made.metadata.name, 'p-v');
    assert.deepEqual(made.metadata.labels, { a: 'b' });
    assert.deepEqual(made.metadata.ownerReferences, [
      { apiVersion: 'v1', kind: 'Pod', name: 'p', uid: owner.metadata.uid, controller: true, blockOwnerDeletion: true },
    ]);
  });
});

describe('asksForMore', () => {
  it('is true for bound claims that want more than they have', () => {
    const has = (storage: string, phase = 'Bound'): PersistentVolumeClaim => ({
      ...claim('c'),
      status: { phase, capacity: { storage } },
    });
    assert.deepEqual(
      [asksForMore(has('1Mi')), asksForMore(has('1Gi')), asksForMore(has('1Mi', 'Pending'))],
      [true, false, false],
    );
  });
});

describe('local volumes', () => {
  it('are refused where they could not do what is asked', () => {
    assert.equal(claimProblem(claim('c')), undefined);
    assert.match(claimProblem(claim('c', { spec: { accessModes: ['ReadWriteMany'] } })) ?? '', /on one node/);
    assert.match(claimProblem(claim('c', { spec: { volumeMode: 'Block' } })) ?? '', /Block/);
  });

  it('are directories of one node, for one claim', () => {
    const made = localVolume(claim('c'), node('n1'), storageClass({ reclaimPolicy: 'Retain' }), '/data');
    assert.deepEqual(made.spec.local, { path: '/data/pvc-uid-c' });
    assert.equal(made.spec.persistentVolumeReclaimPolicy, 'Retain');
    assert.equal(made.spec.claimRef.uid, 'uid-c');
    assert.deepEqual(made.spec.nodeAffinity.required.nodeSelectorTerms[0]?.matchExpressions[0]?.values, ['n1']);
  });

  it('are made and removed by pods on that node, without a shell', () => {
    const { spec } = helperPod('remove', 'pvc-1', 'n1', '/data', 'volume/pvc-1');
    assert.equal(spec.nodeName, 'n1');
    assert.deepEqual(spec.containers[0]?.command, ['rm', '-rf', '/volumes/pvc-1']);
  });
});
