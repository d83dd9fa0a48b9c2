// What one object counts against a quota. Pure.
import type { PersistentVolumeClaim, Pod, Service } from '#kube/api/generated/core-v1.ts';
import { podLimits, reservedRequests } from '#kube/api/pod-resources.ts';
import { formatQuantity, milliQuantityOf, parseQuantity, quantityOf, quantityToNumber } from '#kube/api/quantity.ts';
import type { KubeObject, Resource } from '#kube/api/resource.ts';

/** By the names that quotas use; cpu in thousandths of a core, sizes in bytes, the rest in pieces. */
export type Usage = Map<string, number>;

const plainCounts = new Set([
  'configmaps',
  'secrets',
  'replicationcontrollers',
  'resourcequotas',
  'services',
  'persistentvolumeclaims',
]);
const shortRequests = new Set(['cpu', 'memory', 'ephemeral-storage']);

const isMilli = (name: string): boolean => /(^|\.)cpu$/.test(name);
const isBytes = (name: string): boolean =>
  /(^|\.)(memory|storage|ephemeral-storage)$/.test(name) || name.includes('hugepages-');

/** An amount of `spec.hard` in the unit that usage is counted in. */
export function hardAmount(name: string, text: string): number {
  const quantity = parseQuantity(text);
  return isMilli(name) ? Number(quantity.nano / 1_000_000n) : quantityToNumber(quantity);
}

export function formatAmount(name: string, amount: number): string {
  if (isMilli(name)) return formatQuantity(milliQuantityOf(amount));
  return formatQuantity(quantityOf(amount, isBytes(name) ? 'BinarySI' : 'DecimalSI'));
}

function isOver(pod: Pod): boolean {
  return pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed';
}

function podUsage(pod: Pod): Usage {
  const usage: Usage = new Map([['count/pods', 1]]);
  if (isOver(pod)) return usage;
  usage.set('pods', 1);
  for (const [name, amount] of reservedRequests(pod)) {
    if (shortRequests.has(name)) usage.set(name, amount);
    usage.set(`requests.${name}`, amount);
  }
  for (const [name, amount] of podLimits(pod)) usage.set(`limits.${name}`, amount);
  return usage;
}

function serviceUsage(service: Service): Usage {
  const { type, ports = [], allocateLoadBalancerNodePorts } = service.spec ?? {};
  const usage: Usage = new Map([
    ['count/services', 1],
    ['services', 1],
  ]);
  const hasNodePorts = type === 'NodePort' || (type === 'LoadBalancer' && allocateLoadBalancerNodePorts !== false);
  if (hasNodePorts) usage.set('services.nodeports', ports.length);
  if (type === 'LoadBalancer') usage.set('services.loadbalancers', 1);
  return usage;
}

function claimUsage(claim: PersistentVolumeClaim): Usage {
  const storage = hardAmount('requests.storage', claim.spec?.resources?.requests?.['storage'] ?? '0');
  const usage: Usage = new Map([
    ['count/persistentvolumeclaims', 1],
    ['persistentvolumeclaims', 1],
    ['requests.storage', storage],
  ]);
  const className = claim.spec?.storageClassName ?? '';
  if (className !== '') {
    usage.set(`${className}.storageclass.storage.k8s.io/requests.storage`, storage);
    usage.set(`${className}.storageclass.storage.k8s.io/persistentvolumeclaims`, 1);
  }
  return usage;
}

/** What the object counts. */
export function usageOf(resource: Resource, object: KubeObject): Usage {
  const { group, plural } = resource;
  if (group === '' && plural === 'pods') return podUsage(object as Pod);
  if (group === '' && plural === 'services') return serviceUsage(object as Service);
  if (group === '' && plural === 'persistentvolumeclaims') return claimUsage(object as PersistentVolumeClaim);
  const usage: Usage = new Map([[`count/${plural}${group === '' ? '' : `.${group}`}`, 1]]);
  if (group === '' && plainCounts.has(plural)) usage.set(plural, 1);
  return usage;
}

/** Resources by whose usage a quota of these names is counted: `pods` for `requests.cpu`, and so on. */
export function countedPlural(name: string): { group: string; plural: string } {
  if (name.startsWith('count/')) {
    const [plural = '', ...group] = name.slice('count/'.length).split('.');
    return { group: group.join('.'), plural };
  }
  if (name.startsWith('services.')) return { group: '', plural: 'services' };
  if (name === 'requests.storage' || name.includes('storageclass.storage.k8s.io/'))
    return { group: '', plural: 'persistentvolumeclaims' };
  return { group: '', plural: plainCounts.has(name) ? name : 'pods' };
}
