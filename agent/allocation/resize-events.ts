// The texts of events about resizes: JSON of what the containers are to have (pkg/kubelet/events). Pure.
import type { Container, Pod } from '#kube/api/generated/core-v1.ts';
import type { RecordPodEvent } from '../sync/pod-events.ts';
import type { PendingResize } from './plan-allocation.ts';

function resizedPart(list: Record<string, string> | undefined): Record<string, string> | undefined {
  const entries = ['cpu', 'memory'].flatMap((name) => {
    const value = list?.[name];
    return value === undefined ? [] : [[name, value] as const];
  });
  return entries.length === 0 ? undefined : Object.fromEntries(entries);
}

function describe(containers: readonly Container[]) {
  if (containers.length === 0) return undefined;
  return containers.map(({ name, resources }) => ({
    name,
    resources: { limits: resizedPart(resources?.limits), requests: resizedPart(resources?.requests) },
  }));
}

function resizeJson(pod: Pod, generation: number | undefined, error?: string): string {
  return JSON.stringify({
    initContainers: describe(pod.spec.initContainers ?? []),
    containers: describe(pod.spec.containers),
    generation,
    error,
  });
}

/** Tells what became of a resize. */
export function recordResize(
  record: RecordPodEvent,
  pod: Pod,
  generation: number | undefined,
  outcome:
    | { type: 'started' }
    | { type: 'completed' }
    | ({ type: 'pending' } & PendingResize)
    | { type: 'error'; message: string },
): void {
  switch (outcome.type) {
    case 'started':
      record(pod, 'Normal', 'ResizeStarted', `Pod resize started: ${resizeJson(pod, generation)}`);
      break;
    case 'completed':
      record(pod, 'Normal', 'ResizeCompleted', `Pod resize completed: ${resizeJson(pod, generation)}`);
      break;
    case 'pending': {
      const { reason, message } = outcome;
      record(pod, 'Warning', `Resize${reason}`, `Pod resize ${reason}: ${resizeJson(pod, generation, message)}`);
      break;
    }
    case 'error':
      record(pod, 'Warning', 'ResizeError', `Pod resize error: ${resizeJson(pod, generation, outcome.message)}`);
      break;
    default:
      outcome satisfies never;
  }
}
