// The start of a container, or the wait before it. Pure.
import type { Container } from '#kube/api/generated/core-v1.ts';
import type { ContainerKind } from '../container/pod-containers.ts';
import { latestContainer, type PodRuntime } from '../runtime-cache/pod-runtime.ts';
import type { PlanInputs, PodAction } from './pod-action.ts';

/** How often this container was restarted already, counting the run to come. */
export function nextRestartCount(observed: PodRuntime, name: string): number {
  const latest = latestContainer(observed, name);
  return latest === undefined ? 0 : latest.facts.restartCount + 1;
}

/** A start now, or the wait before it. The wait counts from the end of the last run. */
export function planStart(inputs: PlanInputs, kind: ContainerKind, container: Container): PodAction {
  const { observed, restartDelay } = inputs;
  const lastEnded = observed.containers.find((item) => item.name === container.name && item.state === 'exited');
  const delay = lastEnded === undefined ? undefined : restartDelay(container, lastEnded.finishedAtMs);
  if (delay !== undefined) return { type: 'backOff', container, ...delay };
  return { type: 'startContainer', kind, container, restartCount: nextRestartCount(observed, container.name) };
}
