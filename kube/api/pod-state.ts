// Questions about a pod that controllers, scheduler, proxy and agent ask in the same words.
import { findCondition, isConditionTrue } from './conditions.ts';
import type { Pod } from './generated/core-v1.ts';
import { parseTime } from './time.ts';

type StatusOnly = Pick<Pod, 'status'>;

/** Succeeded or Failed: no container will run again. */
export function isPodTerminal(pod: StatusOnly): boolean {
  const phase = pod.status?.phase;
  return phase === 'Succeeded' || phase === 'Failed';
}

/** Its deletion was asked for. */
export function isPodTerminating(pod: Pick<Pod, 'metadata'>): boolean {
  return pod.metadata.deletionTimestamp !== undefined;
}

/** Neither finished nor being deleted. */
export function isPodActive(pod: Pick<Pod, 'metadata' | 'status'>): boolean {
  return !isPodTerminal(pod) && !isPodTerminating(pod);
}

/** Its Ready condition is True. */
export function isPodReady(pod: StatusOnly): boolean {
  return isConditionTrue(pod.status?.conditions, 'Ready');
}

/** Ready for at least `minReadySeconds`. */
export function isPodAvailable(pod: StatusOnly, minReadySeconds: number, nowMs: number): boolean {
  if (!isPodReady(pod)) return false;
  if (minReadySeconds === 0) return true;
  const sinceMs = parseTime(findCondition(pod.status?.conditions, 'Ready')?.lastTransitionTime);
  return sinceMs !== undefined && sinceMs + minReadySeconds * 1000 <= nowMs;
}

/** It has a node. */
export function isPodScheduled(pod: Pick<Pod, 'spec'>): boolean {
  return (pod.spec?.nodeName ?? '') !== '';
}

/** A pod run by the node from a file; the API object only mirrors it. */
export function isMirrorPod(pod: Pick<Pod, 'metadata'>): boolean {
  return pod.metadata.annotations?.['kubernetes.io/config.mirror'] !== undefined;
}
