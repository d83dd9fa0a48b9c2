// Which pods have to go so that a pod the system cannot do without gets its resources: as few as will do, and of the
// lowest class (pkg/kubelet/preemption). Pure.
import type { Pod } from '#kube/api/generated/core-v1.ts';
import { qosClassOf } from '#kube/api/pod-qos.ts';
import { podRequests } from '#kube/api/pod-resources.ts';
import { isStaticPod } from '../container/labels.ts';

const systemCriticalPriority = 2_000_000_000;

/** What is missing of one resource. */
export interface Shortage {
  name: string;
  amount: number;
}

/** Pods of the system itself, and static ones. */
export function isCriticalPod(pod: Pod): boolean {
  return isStaticPod(pod) || (pod.spec.priority ?? 0) >= systemCriticalPriority;
}

function mayPreempt(pod: Pod, other: Pod): boolean {
  if (isCriticalPod(pod) && !isCriticalPod(other)) return true;
  return (pod.spec.priority ?? 0) > (other.spec.priority ?? 0);
}

function amountOf(pod: Pod, name: string): number {
  return name === 'pods' ? 1 : (podRequests(pod).get(name) ?? 0);
}

/** What is still missing when these pods are gone. */
function without(shortages: readonly Shortage[], pods: readonly Pod[]): Shortage[] {
  return shortages
    .map(({ name, amount }) => ({ name, amount: amount - pods.reduce((sum, pod) => sum + amountOf(pod, name), 0) }))
    .filter(({ amount }) => amount > 0);
}

/** How far the pod is from covering what is missing: 0 where it covers all of it. */
function distance(pod: Pod, shortages: readonly Shortage[]): number {
  return shortages.reduce(
    (sum, { name, amount }) => sum + (Math.max(amount - amountOf(pod, name), 0) / amount) ** 2,
    0,
  );
}

/** Of two pods that are as good: the one that asks for less. */
function isSmaller(pod: Pod, than: Pod): boolean {
  const size = (item: Pod) => ['memory', 'cpu'].map((name) => amountOf(item, name));
  const [a, b] = [size(pod), size(than)];
  return (a[0] ?? 0) !== (b[0] ?? 0) ? (a[0] ?? 0) < (b[0] ?? 0) : (a[1] ?? 0) < (b[1] ?? 0);
}

function nearest(pods: readonly Pod[], shortages: readonly Shortage[]): Pod[] {
  const chosen: Pod[] = [];
  let left = [...pods];
  for (let missing = [...shortages]; missing.length > 0 && left.length > 0; missing = without(shortages, chosen)) {
    let best = left[0];
    for (const pod of left) {
      if (best === undefined) break;
      const [a, b] = [distance(pod, missing), distance(best, missing)];
      if (a < b || (a === b && isSmaller(pod, best))) best = pod;
    }
    if (best === undefined) break;
    chosen.push(best);
    left = left.filter((pod) => pod !== best);
  }
  return chosen;
}

/** Undefined when the pod may not preempt others, or when that would not help. */
export function planPreemption(pod: Pod, others: readonly Pod[], shortages: readonly Shortage[]): Pod[] | undefined {
  if (!isCriticalPod(pod)) return undefined;
  const candidates = others.filter((other) => mayPreempt(pod, other));
  if (without(shortages, candidates).length > 0) return undefined;
  const of = (qos: string) => candidates.filter((item) => qosClassOf(item) === qos);
  const [guaranteed, burstable, bestEffort] = [of('Guaranteed'), of('Burstable'), of('BestEffort')];
  const first = nearest(guaranteed, without(shortages, [...burstable, ...bestEffort]));
  const second = nearest(burstable, without(shortages, [...bestEffort, ...first]));
  const third = nearest(bestEffort, without(shortages, [...first, ...second]));
  return [...first, ...second, ...third];
}
