// How a job sees its pods, and the pods it makes. Pure.
import type { Job } from '#kube/api/generated/batch-v1.ts';
import type { Container, Pod } from '#kube/api/generated/core-v1.ts';
import { jobs } from '#kube/api/generated/resources.ts';
import { isPodTerminal, isPodTerminating } from '#kube/api/pod-state.ts';
import type { Draft } from '#kube/api/resource.ts';
import { parseTime } from '#kube/api/time.ts';
import { podFromTemplate } from '../pod-template.ts';

/** Keeps a finished pod until it was counted. */
export const trackingFinalizer = 'batch.kubernetes.io/job-tracking';
/** The completion index of a pod; also its label. */
export const indexAnnotation = 'batch.kubernetes.io/job-completion-index';
/** Failures of an index before this pod. */
export const indexFailureCountAnnotation = 'batch.kubernetes.io/job-index-failure-count';

/** Whether every pod has a completion index. */
export function isIndexed(job: Job): boolean {
  return job.spec.completionMode === 'Indexed';
}

/** Whether the pod has not been counted yet. */
export function hasTrackingFinalizer(pod: Pod): boolean {
  return pod.metadata.finalizers?.includes(trackingFinalizer) ?? false;
}

/** The completion index of a pod; undefined where it has none. */
export function completionIndex(pod: Pod): number | undefined {
  const text = pod.metadata.annotations?.[indexAnnotation];
  return text !== undefined && /^\d+$/.test(text) ? Number(text) : undefined;
}

/** Whether terminating pods are replaced only when they have ended. */
export function replacesOnlyFailed(job: Job): boolean {
  return (job.spec.podReplacementPolicy ?? (job.spec.podFailurePolicy === undefined ? '' : 'Failed')) === 'Failed';
}

/** A pod that failed, or counts as failed because it was deleted before it could end. */
export function isPodFailed(job: Job, pod: Pod): boolean {
  if (pod.status?.phase === 'Failed') return true;
  if (replacesOnlyFailed(job)) return false;
  return isPodTerminating(pod) && pod.status?.phase !== 'Succeeded';
}

/** Neither finished nor being deleted. */
export function isPodActive(pod: Pod): boolean {
  return !isPodTerminal(pod) && !isPodTerminating(pod);
}

/** When the pod's last container ended, or the pod was deleted. */
export function finishTimeMs(pod: Pod): number | undefined {
  const ended = (pod.status?.containerStatuses ?? []).map(({ state }) => parseTime(state?.terminated?.finishedAt));
  const known = ended.filter((time) => time !== undefined);
  if (known.length > 0) return Math.max(...known);
  const ready = pod.status?.conditions?.find(({ type }) => type === 'Ready')?.lastTransitionTime;
  return parseTime(pod.metadata.deletionTimestamp ?? ready ?? pod.metadata.creationTimestamp);
}

function withIndexVariable(container: Container): Container {
  if (container.env?.some(({ name }) => name === 'JOB_COMPLETION_INDEX') === true) return container;
  const fieldPath = `metadata.labels['${indexAnnotation}']`;
  const variable = { name: 'JOB_COMPLETION_INDEX', valueFrom: { fieldRef: { fieldPath } } };
  return { ...container, env: [...(container.env ?? []), variable] };
}

/** The pod to create; with an index for indexed jobs. */
export function draftJobPod(job: Job, index: number | undefined, failuresOfIndex: number): Draft<Pod> {
  const draft = podFromTemplate(job.spec.template, jobs, job);
  const { finalizers = [], labels, annotations } = draft.metadata;
  const metadata = { ...draft.metadata, finalizers: [...finalizers, trackingFinalizer] };
  if (index === undefined) return { ...draft, metadata };
  const spec = draft.spec ?? { containers: [] };
  const perIndex =
    job.spec.backoffLimitPerIndex === undefined ? {} : { [indexFailureCountAnnotation]: `${failuresOfIndex}` };
  return {
    ...draft,
    metadata: {
      ...metadata,
      generateName: `${job.metadata.name}-${index}-`,
      labels: { ...labels, [indexAnnotation]: `${index}` },
      annotations: { ...annotations, [indexAnnotation]: `${index}`, ...perIndex },
    },
    spec: {
      ...spec,
      hostname: spec.hostname ?? `${job.metadata.name}-${index}`,
      containers: spec.containers.map(withIndexVariable),
      ...(spec.initContainers === undefined ? {} : { initContainers: spec.initContainers.map(withIndexVariable) }),
    },
  };
}
