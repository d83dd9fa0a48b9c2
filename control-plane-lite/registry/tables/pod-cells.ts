// The row of a pod, with the status word kubectl users know: CrashLoopBackOff, Init:1/3, Completed…
import type { ContainerState, ContainerStatus, Pod } from '#kube/api/generated/core-v1.ts';
import { age, orNone } from './cell-format.ts';

/** What containers add to the status word and the restart count. */
interface PodSummary {
  word: string;
  ready: number;
  restarts: number;
  lastRestart: string | undefined;
}

function later(a: string | undefined, b: string | undefined): string | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return Date.parse(a) >= Date.parse(b) ? a : b;
}

function terminatedWord(state: NonNullable<ContainerState['terminated']>): string {
  if (state.reason !== undefined && state.reason !== '') return state.reason;
  return state.signal ? `Signal:${state.signal}` : `ExitCode:${state.exitCode}`;
}

function restartableNames(pod: Pod): Set<string> {
  const restartable = (pod.spec.initContainers ?? []).filter((container) => container.restartPolicy === 'Always');
  return new Set(restartable.map((container) => container.name));
}

/** The word while this init container holds the pod up; undefined when it does not. */
function initWord(status: ContainerStatus, index: number, total: number, restartable: boolean): string | undefined {
  const { terminated, waiting } = status.state ?? {};
  if (terminated !== undefined && terminated.exitCode === 0) return undefined;
  if (restartable && status.started === true) return undefined;
  if (terminated !== undefined) return `Init:${terminatedWord(terminated)}`;
  if (waiting?.reason && waiting.reason !== 'PodInitializing') return `Init:${waiting.reason}`;
  return `Init:${index}/${total}`;
}

function conditionIsTrue(pod: Pod, type: string): boolean {
  return pod.status?.conditions?.some((c) => c.type === type && c.status === 'True') ?? false;
}

function summarizeInit(pod: Pod, summary: PodSummary, sidecars: PodSummary): boolean {
  const restartable = restartableNames(pod);
  for (const [index, status] of (pod.status?.initContainerStatuses ?? []).entries()) {
    const isSidecar = restartable.has(status.name);
    const finishedAt = status.lastState?.terminated?.finishedAt;
    for (const target of isSidecar ? [summary, sidecars] : [summary]) {
      target.restarts += status.restartCount;
      target.lastRestart = later(target.lastRestart, finishedAt);
    }
    const word = initWord(status, index, pod.spec.initContainers?.length ?? 0, isSidecar);
    if (word !== undefined) {
      summary.word = word;
      return true;
    }
    if (isSidecar && status.started === true && status.ready) summary.ready += 1;
  }
  return false;
}

function summarizeContainers(pod: Pod, summary: PodSummary): void {
  let running = false;
  for (const status of [...(pod.status?.containerStatuses ?? [])].reverse()) {
    summary.restarts += status.restartCount;
    summary.lastRestart = later(summary.lastRestart, status.lastState?.terminated?.finishedAt);
    const { waiting, terminated } = status.state ?? {};
    if (waiting?.reason) summary.word = waiting.reason;
    else if (terminated !== undefined) summary.word = terminatedWord(terminated);
    else if (status.ready && status.state?.running !== undefined) {
      running = true;
      summary.ready += 1;
    }
  }
  if (summary.word === 'Completed' && running) summary.word = conditionIsTrue(pod, 'Ready') ? 'Running' : 'NotReady';
}

function summarize(pod: Pod): PodSummary {
  const status = pod.status ?? {};
  const summary: PodSummary = {
    word: status.reason || status.phase || 'Unknown',
    ready: 0,
    restarts: 0,
    lastRestart: undefined,
  };
  const gated = status.conditions?.some((c) => c.type === 'PodScheduled' && c.reason === 'SchedulingGated');
  if (gated === true) summary.word = 'SchedulingGated';
  const sidecars: PodSummary = { word: '', ready: 0, restarts: 0, lastRestart: undefined };
  const initializing = summarizeInit(pod, summary, sidecars);
  if (!initializing || conditionIsTrue(pod, 'Initialized')) {
    summary.restarts = sidecars.restarts;
    summary.lastRestart = sidecars.lastRestart;
    summarizeContainers(pod, summary);
  }
  if (pod.metadata.deletionTimestamp !== undefined) {
    if (status.reason === 'NodeLost') summary.word = 'Unknown';
    else if (status.phase !== 'Succeeded' && status.phase !== 'Failed') summary.word = 'Terminating';
  }
  return summary;
}

function readinessGatesCell(pod: Pod): string {
  const gates = pod.spec.readinessGates ?? [];
  if (gates.length === 0) return '<none>';
  return `${gates.filter((gate) => conditionIsTrue(pod, gate.conditionType)).length}/${gates.length}`;
}

/** Cells of one pod, in the order of its columns. */
export function podCells(pod: Pod, nowMs: number): unknown[] {
  const summary = summarize(pod);
  const total = pod.spec.containers.length + restartableNames(pod).size;
  const ago = summary.lastRestart === undefined ? '' : ` (${age(summary.lastRestart, nowMs)} ago)`;
  return [
    pod.metadata.name,
    `${summary.ready}/${total}`,
    summary.word,
    summary.restarts === 0 ? '0' : `${summary.restarts}${ago}`,
    age(pod.metadata.creationTimestamp, nowMs),
    orNone(pod.status?.podIPs?.[0]?.ip ?? pod.status?.podIP),
    orNone(pod.spec.nodeName),
    orNone(pod.status?.nominatedNodeName),
    readinessGatesCell(pod),
  ];
}
