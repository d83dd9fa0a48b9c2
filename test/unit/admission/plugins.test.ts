// Admission plugins one by one, on objects in memory.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { claimResize } from '../../../control-plane-lite/admission/claim-resize.ts';
import { defaultTolerationSeconds } from '../../../control-plane-lite/admission/default-toleration-seconds.ts';
import { limitRanger } from '../../../control-plane-lite/admission/limit-ranger.ts';
import { namespaceLifecycle } from '../../../control-plane-lite/admission/namespace-lifecycle.ts';
import type { AdmissionPlugin, AdmissionRequest } from '../../../control-plane-lite/admission/plugin.ts';
import { priorityAdmission } from '../../../control-plane-lite/admission/priority.ts';
import { isInScope } from '../../../control-plane-lite/admission/quota/scopes.ts';
import { formatAmount, usageOf } from '../../../control-plane-lite/admission/quota/usage.ts';
import { runtimeClassAdmission } from '../../../control-plane-lite/admission/runtime-class.ts';
import { serviceAccountAdmission } from '../../../control-plane-lite/admission/service-account.ts';
import { defaultStorageClass } from '../../../control-plane-lite/admission/storage-defaults.ts';
import { loadResourceTable } from '../../../control-plane-lite/registry/resource-table.ts';
import type { Container, Pod } from '../../../kube/api/generated/core-v1.ts';
import { persistentvolumeclaims, pods, services } from '../../../kube/api/generated/resources.ts';
import type { KubeObject, Resource } from '../../../kube/api/resource.ts';

const table = loadResourceTable();

/** A request to create an object in a cluster that holds `objects`, by plural. */
function create(resource: Resource, object: object, objects: Record<string, object[]> = {}): AdmissionRequest {
  const named = (plural: string, name: string) =>
    (objects[plural] as KubeObject[] | undefined)?.find(({ metadata }) => metadata.name === name);
  return {
    verb: 'create',
    served: table.get(resource),
    subresource: '',
    namespace: resource.namespaced ? 'a' : '',
    name: 'x',
    object: object as KubeObject,
    previous: undefined,
    context: { user: { username: 'u', groups: [] }, nowMs: 0, dryRun: false, fieldManager: 'm', warn: () => undefined },
    objects: {
      get: ({ plural }: Resource, _namespace: string, name: string) => named(plural, name),
      list: ({ plural }: Resource) => objects[plural] ?? [],
    } as unknown as AdmissionRequest['objects'],
  };
}

const pod = (spec: object = {}): Pod & { spec: NonNullable<Pod['spec']> } => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'x' },
  spec: { containers: [{ name: 'c', image: 'i' }], ...spec },
});

function admit(
  plugin: AdmissionPlugin,
  resource: Resource,
  object: object,
  objects: Record<string, object[]> = {},
): void {
  const request = create(resource, object, objects);
  plugin.mutate?.(request);
  plugin.validate?.(request);
}

describe('NamespaceLifecycle', () => {
  it('refuses objects in a namespace that is missing or going away', () => {
    assert.throws(() => admit(namespaceLifecycle, pods, pod()), /namespaces "a" not found/);
    const going = { namespaces: [{ metadata: { name: 'a', deletionTimestamp: 'now' } }] };
    assert.throws(
      () => admit(namespaceLifecycle, pods, pod(), going),
      /unable to create new content in namespace a because it is being terminated/,
    );
    admit(namespaceLifecycle, pods, pod(), { namespaces: [{ metadata: { name: 'a' } }] });
  });
});

describe('ServiceAccount', () => {
  const accounts = {
    serviceaccounts: [
      { metadata: { name: 'default' }, imagePullSecrets: [{ name: 'pull' }] },
      { metadata: { name: 'quiet' }, automountServiceAccountToken: false },
    ],
  };

  it('mounts the token where nothing else is mounted', () => {
    const other = { name: 'own', mountPath: '/var/run/secrets/kubernetes.io/serviceaccount' };
    const object = pod({ containers: [{ name: 'c' }, { name: 'd', volumeMounts: [other] }] });
    admit(serviceAccountAdmission, pods, object, accounts);
    const [first, second] = object.spec.containers as Container[];
    assert.equal(first?.volumeMounts?.[0]?.name, object.spec.volumes?.[0]?.name);
    assert.deepEqual(second?.volumeMounts, [other]);
    assert.deepEqual(object.spec.imagePullSecrets, [{ name: 'pull' }]);
  });

  it('mounts nothing when pod or account say so', () => {
    const object = pod({ serviceAccountName: 'quiet' });
    admit(serviceAccountAdmission, pods, object, accounts);
    assert.equal(object.spec.volumes, undefined);
  });

  it('refuses a pod of an account that does not exist', () => {
    assert.throws(
      () => admit(serviceAccountAdmission, pods, pod({ serviceAccountName: 'gone' }), accounts),
      /error looking up service account a\/gone: serviceaccount "gone" not found/,
    );
  });
});

describe('DefaultTolerationSeconds', () => {
  it('adds what is not tolerated already', () => {
    const object = pod({
      tolerations: [{ key: 'node.kubernetes.io/not-ready', operator: 'Exists', effect: 'NoExecute' }],
    });
    admit(defaultTolerationSeconds, pods, object);
    assert.deepEqual(
      object.spec.tolerations?.map(({ key }) => key),
      ['node.kubernetes.io/not-ready', 'node.kubernetes.io/unreachable'],
    );
    const all = pod({ tolerations: [{ operator: 'Exists' }] });
    admit(defaultTolerationSeconds, pods, all);
    assert.equal(all.spec.tolerations?.length, 1);
  });
});

describe('Priority', () => {
  const priorityclasses = [
    { metadata: { name: 'high' }, value: 1000, preemptionPolicy: 'Never' },
    { metadata: { name: 'usual' }, value: 5, globalDefault: true },
  ];

  it('resolves the class, or the default one', () => {
    const high = pod({ priorityClassName: 'high' });
    admit(priorityAdmission, pods, high, { priorityclasses });
    assert.deepEqual([high.spec.priority, high.spec.preemptionPolicy], [1000, 'Never']);
    const usual = pod();
    admit(priorityAdmission, pods, usual, { priorityclasses });
    assert.deepEqual([usual.spec.priority, usual.spec.priorityClassName], [5, 'usual']);
  });

  it('refuses unknown classes and numbers that differ from the class', () => {
    assert.throws(
      () => admit(priorityAdmission, pods, pod({ priorityClassName: 'no' })),
      /no PriorityClass with name no was found/,
    );
    assert.throws(
      () => admit(priorityAdmission, pods, pod({ priority: 7 })),
      /the integer value of priority \(7\) must not be provided/,
    );
  });
});

describe('LimitRanger', () => {
  const limitranges = (item: object) => ({
    limitranges: [{ metadata: { name: 'l' }, spec: { limits: [{ type: 'Container', ...item }] } }],
  });

  it('fills in defaults and says so', () => {
    const object = pod();
    admit(limitRanger, pods, object, limitranges({ default: { cpu: '500m' }, defaultRequest: { cpu: '100m' } }));
    assert.deepEqual(object.spec.containers[0]?.resources, { limits: { cpu: '500m' }, requests: { cpu: '100m' } });
    assert.equal(
      object.metadata?.annotations?.['kubernetes.io/limit-ranger'],
      'LimitRanger plugin set: cpu request for container c; cpu limit for container c',
    );
  });

  it('refuses what is out of bounds', () => {
    const object = pod({ containers: [{ name: 'c', resources: { limits: { cpu: '2' }, requests: { cpu: '10m' } } }] });
    const bounds = limitranges({ min: { cpu: '100m' }, max: { cpu: '1' } });
    assert.throws(
      () => admit(limitRanger, pods, object, bounds),
      /\[minimum cpu usage per Container is 100m, but request is 10m, maximum cpu usage per Container is 1, but limit is 2\]/,
    );
  });

  it('holds a pod that is resized to the bounds of new ones, and fills in nothing', () => {
    const bounds = limitranges({ max: { cpu: '1' }, default: { memory: '1Gi' } });
    const resized = (cpu: string) => {
      const object = pod({ containers: [{ name: 'c', resources: { limits: { cpu }, requests: { cpu } } }] });
      const request = { ...create(pods, object, bounds), verb: 'update' as const, subresource: 'resize' };
      limitRanger.mutate?.(request);
      limitRanger.validate?.(request);
      return object.spec.containers[0]?.resources?.limits;
    };
    assert.deepEqual(resized('1'), { cpu: '1' });
    assert.throws(() => resized('2'), /maximum cpu usage per Container is 1, but limit is 2/);
  });
});

describe('LimitRanger for whole pods', () => {
  it('adds up the containers', () => {
    const resources = { limits: { cpu: '400m' }, requests: { cpu: '400m' } };
    const object = pod({ containers: ['a', 'b'].map((name) => ({ name, resources })) });
    const limitranges = [{ metadata: { name: 'l' }, spec: { limits: [{ type: 'Pod', max: { cpu: '600m' } }] } }];
    assert.throws(
      () => admit(limitRanger, pods, object, { limitranges }),
      /maximum cpu usage per Pod is 600m, but limit is 800m/,
    );
  });
});

describe('DefaultStorageClass', () => {
  it('chooses the newest default, and leaves an empty choice alone', () => {
    const storageclasses = ['old', 'new'].map((name, index) => ({
      metadata: {
        name,
        creationTimestamp: `2026-01-0${index + 1}T00:00:00Z`,
        annotations: { 'storageclass.kubernetes.io/is-default-class': 'true' },
      },
    }));
    const claim = { metadata: { name: 'x' }, spec: {} as { storageClassName?: string } };
    admit(defaultStorageClass, persistentvolumeclaims, claim, { storageclasses });
    assert.equal(claim.spec.storageClassName, 'new');
    const none = { metadata: { name: 'x' }, spec: { storageClassName: '' } };
    admit(defaultStorageClass, persistentvolumeclaims, none, { storageclasses });
    assert.equal(none.spec.storageClassName, '');
  });
});

describe('RuntimeClass', () => {
  it('adds overhead and node selector of the class', () => {
    const runtimeclasses = [
      {
        metadata: { name: 'vm' },
        overhead: { podFixed: { cpu: '250m' } },
        scheduling: { nodeSelector: { vm: 'yes' } },
      },
    ];
    const object = pod({ runtimeClassName: 'vm' });
    admit(runtimeClassAdmission, pods, object, { runtimeclasses });
    assert.deepEqual([object.spec.overhead, object.spec.nodeSelector], [{ cpu: '250m' }, { vm: 'yes' }]);
    assert.throws(
      () => admit(runtimeClassAdmission, pods, pod({ runtimeClassName: 'no' })),
      /RuntimeClass "no" not found/,
    );
  });
});

describe('usage of quotas', () => {
  it('counts pods with what they ask for, and not those that are over', () => {
    const object = pod({ containers: [{ name: 'c', resources: { requests: { cpu: '500m', memory: '1Gi' } } }] });
    const usage = usageOf(pods, object as KubeObject);
    assert.equal(formatAmount('requests.cpu', usage.get('requests.cpu') ?? 0), '500m');
    assert.equal(formatAmount('memory', usage.get('memory') ?? 0), '1Gi');
    const over = usageOf(pods, { ...object, status: { phase: 'Succeeded' } } as unknown as KubeObject);
    assert.deepEqual([...over], [['count/pods', 1]]);
  });

  it('counts node ports and load balancers of services', () => {
    const service = { metadata: { name: 's' }, spec: { type: 'LoadBalancer', ports: [{ port: 1 }, { port: 2 }] } };
    const usage = usageOf(services, service as KubeObject);
    assert.deepEqual([usage.get('services.nodeports'), usage.get('services.loadbalancers')], [2, 1]);
  });

  it('is only about the pods that the scopes of a quota name', () => {
    assert.equal(isInScope({ scopes: ['BestEffort'] }, pod()), true);
    assert.equal(isInScope({ scopes: ['NotBestEffort'] }, pod()), false);
    assert.equal(isInScope({ scopes: ['Terminating'] }, pod({ activeDeadlineSeconds: 5 })), true);
    assert.equal(isInScope({ scopes: ['BestEffort'] }, undefined), false);
  });
});

describe('PersistentVolumeClaimResize', () => {
  const claim = (storage: string, phase = 'Bound') => ({
    metadata: { name: 'x' },
    spec: { storageClassName: 'fast', resources: { requests: { storage } } },
    status: { phase },
  });
  const resize = (before: object, after: object, allowVolumeExpansion: boolean) => {
    const storageclasses = [{ metadata: { name: 'fast' }, allowVolumeExpansion }];
    const request = create(persistentvolumeclaims, after, { storageclasses });
    claimResize.validate?.({ ...request, verb: 'update', previous: before as KubeObject });
  };

  it('lets a bound claim grow where its class allows that', () => resize(claim('1Gi'), claim('2Gi'), true));
  it('lets other changes through', () => resize(claim('2Gi', 'Pending'), claim('2Gi'), false));
  it('refuses growth of a claim that is not bound', () =>
    assert.throws(() => resize(claim('1Gi', 'Pending'), claim('2Gi'), true), /Only bound persistent volume claims/));
  it('refuses growth that the class does not allow', () =>
    assert.throws(() => resize(claim('1Gi'), claim('2Gi'), false), /must support resize/));
});
