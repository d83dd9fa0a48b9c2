// Sets the scale of workloads by what their metrics ask for, every fifteen seconds.
import type { Scale } from '#kube/api/generated/autoscaling-v1.ts';
import type { HorizontalPodAutoscaler, MetricStatus } from '#kube/api/generated/autoscaling-v2.ts';
import { horizontalpodautoscalers } from '#kube/api/generated/resources.ts';
import { type LabelRequirements, selectorMatches } from '#kube/api/label-selector.ts';
import { parseLabelSelector } from '#kube/api/parse-label-selector.ts';
import { parseQuantity, quantityToFloat } from '#kube/api/quantity.ts';
import { objectKey, type Resource } from '#kube/api/resource.ts';
import type { ApiClient } from '#kube/client/types.ts';
import { referenceTo } from '#kube/events/event-recorder.ts';
import { createInformer } from '#kube/informer/create-informer.ts';
import { runGroup } from '#kube/process/component.ts';
import { type Controller, type ControllerContext, createControllerQueue } from '../controller.ts';
import { createScaleFinder } from '../find-scale.ts';
import { sameJson } from '../same-json.ts';
import { able, draftStatus, type StatusDraft, unable } from './autoscaler-status.ts';
import type { Tolerance } from './compute-replicas.ts';
import { limitReplicas, remember, type ScalingHistory } from './limit-replicas.ts';
import { proposeReplicas } from './propose-replicas.ts';
import { createMetricsReader } from './read-metrics.ts';

const defaultPeriodMs = 15_000;
const defaultTolerance = 0.1;

const reasonOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

function toleranceOf({ spec: { behavior } }: HorizontalPodAutoscaler): Tolerance {
  const share = (text: string | undefined) =>
    text === undefined ? defaultTolerance : quantityToFloat(parseQuantity(text));
  return { up: share(behavior?.scaleUp?.tolerance), down: share(behavior?.scaleDown?.tolerance) };
}

/** What a target is to be brought to, and why. */
interface Size {
  desired: number;
  reason: string;
  metrics: readonly MetricStatus[];
}

/** A target whose size is settled without its metrics. */
function settledSize({ spec }: HorizontalPodAutoscaler, current: number): Size | undefined {
  const min = spec.minReplicas ?? 1;
  if (current > spec.maxReplicas) {
    return { desired: spec.maxReplicas, reason: 'Current number of replicas above Spec.MaxReplicas', metrics: [] };
  }
  if (current < min) return { desired: min, reason: 'Current number of replicas below Spec.MinReplicas', metrics: [] };
  return undefined;
}

/** `sharedClient` watches. History is kept in memory: a new leader knows only the size that it finds. */
export function createHorizontalPodAutoscalerController(
  context: ControllerContext,
  sharedClient: ApiClient,
  periodMs = defaultPeriodMs,
): Controller {
  const { informers, client, recorder, clock, logger } = context;
  const queue = createControllerQueue(context);
  const scales = createScaleFinder(client, clock);
  const reader = createMetricsReader(client);
  const histories = new Map<string, ScalingHistory>();
  /** Selectors of the targets, to find pods that two autoscalers count. */
  const selectors = new Map<string, LabelRequirements>();
  const autoscalers = createInformer<HorizontalPodAutoscaler>({
    client: sharedClient,
    resource: horizontalpodautoscalers,
    clock,
    logger,
  });
  autoscalers.subscribe({
    added: (autoscaler) => queue.add(objectKey(autoscaler)),
    updated: (previous, autoscaler) => {
      if (!sameJson(previous.spec, autoscaler.spec)) queue.add(objectKey(autoscaler));
    },
    deleted: (autoscaler) => {
      histories.delete(objectKey(autoscaler));
      selectors.delete(objectKey(autoscaler));
    },
  });

  async function writeStatus(
    autoscaler: HorizontalPodAutoscaler,
    status: HorizontalPodAutoscaler['status'],
  ): Promise<void> {
    if (sameJson(status, autoscaler.status)) return;
    await client.updateSubresource(horizontalpodautoscalers, { ...autoscaler, status }, 'status');
  }

  async function findScale(
    autoscaler: HorizontalPodAutoscaler,
    draft: StatusDraft,
  ): Promise<{ resource: Resource; scale: Scale } | undefined> {
    const { scaleTargetRef } = autoscaler.spec;
    try {
      const resource = await scales.resourceOf(scaleTargetRef);
      const scale = await scales.get(resource, autoscaler.metadata.namespace ?? '', scaleTargetRef.name);
      const text = "the HPA controller was able to get the target's current scale";
      draft.set('AbleToScale', able('SucceededGetScale', text));
      return { resource, scale };
    } catch (error) {
      const why = reasonOf(error);
      recorder.event(referenceTo(horizontalpodautoscalers, autoscaler), 'Warning', 'FailedGetScale', why);
      const text = `the HPA controller was unable to get the target's current scale: ${why}`;
      draft.set('AbleToScale', unable('FailedGetScale', text));
      await writeStatus(autoscaler, draft.build({ current: autoscaler.status?.currentReplicas ?? 0 }));
      return undefined;
    }
  }

  /** The pods that a selector selects; undefined with a condition where it cannot be used. */
  function selectPods(autoscaler: HorizontalPodAutoscaler, selector: string, draft: StatusDraft) {
    const reference = referenceTo(horizontalpodautoscalers, autoscaler);
    const key = objectKey(autoscaler);
    const { namespace = '' } = autoscaler.metadata;
    if (selector === '') {
      recorder.event(reference, 'Warning', 'SelectorRequired', 'selector is required');
      draft.set('ScalingActive', unable('InvalidSelector', "the HPA target's scale is missing a selector"));
      return undefined;
    }
    const requirements = parseLabelSelector(selector);
    selectors.set(key, requirements);
    const pods = informers.pods
      .byNamespace(namespace)
      .filter(({ metadata }) => selectorMatches(requirements, metadata.labels));
    const rivals = [...selectors].filter(
      ([other, others]) =>
        other !== key &&
        other.startsWith(`${namespace}/`) &&
        pods.some(({ metadata }) => selectorMatches(others, metadata.labels)),
    );
    if (rivals.length > 0) {
      const names = [key, ...rivals.map(([other]) => other)].sort().join(' ');
      const text = `pods by selector ${selector} are controlled by multiple HPAs: [${names}]`;
      recorder.event(reference, 'Warning', 'AmbiguousSelector', text);
      draft.set('ScalingActive', unable('AmbiguousSelector', text));
      return undefined;
    }
    return pods;
  }

  /** What the metrics ask for within the rules; undefined with conditions where that cannot be told. */
  async function sizeByMetrics(
    autoscaler: HorizontalPodAutoscaler,
    scale: Scale,
    draft: StatusDraft,
  ): Promise<Size | undefined> {
    const key = objectKey(autoscaler);
    const { spec, metadata } = autoscaler;
    const reference = referenceTo(horizontalpodautoscalers, autoscaler);
    const current = scale.spec?.replicas ?? 0;
    const selector = scale.status?.selector ?? '';
    const pods = selectPods(autoscaler, selector, draft);
    if (pods === undefined) return undefined;
    const situation = { replicas: current, pods, tolerance: toleranceOf(autoscaler), nowMs: clock.now() };
    const pluralOf = async (described: { apiVersion?: string | undefined; kind: string; name: string }) => {
      const { plural, group } = await scales.resourceOf(described);
      return group === '' ? plural : `${plural}.${group}`;
    };
    const asked = {
      reader,
      namespace: metadata.namespace ?? '',
      selector,
      found: scale.status?.replicas ?? 0,
      situation,
      pluralOf,
    };
    const { replicas, name, statuses, failures, fault } = await proposeReplicas(asked, spec.metrics ?? []);
    for (const { reason, detail } of failures) recorder.event(reference, 'Warning', reason, detail);
    if (fault !== undefined) {
      const [{ reason, detail } = { reason: 'InvalidMetricSourceType', detail: fault }] = failures;
      draft.set('ScalingActive', unable(reason, `the HPA was unable to compute the replica count: ${detail}`));
      recorder.event(reference, 'Warning', 'FailedComputeMetricsReplicas', fault);
      return undefined;
    }
    const text = `the HPA was able to successfully calculate a replica count from ${name}`;
    draft.set('ScalingActive', able('ValidMetricFound', text));
    const history = histories.get(key) ?? { recommendations: [], changes: [] };
    const bounds = { min: spec.minReplicas ?? 1, max: spec.maxReplicas, behavior: spec.behavior };
    const limited = limitReplicas({ current, desired: replicas, ...bounds }, history, clock.now());
    histories.set(key, remember(history, replicas, 0, spec.behavior, clock.now()));
    draft.set('AbleToScale', limited.stabilized);
    draft.set('ScalingLimited', limited.limited);
    const reason = replicas > current ? `${name} above target` : 'All metrics below target';
    return { desired: limited.replicas, reason, metrics: statuses };
  }

  async function rescale(
    autoscaler: HorizontalPodAutoscaler,
    { resource, scale }: { resource: Resource; scale: Scale },
    { desired, reason }: Size,
    draft: StatusDraft,
  ): Promise<void> {
    const { namespace, name } = { ...autoscaler.metadata, name: autoscaler.spec.scaleTargetRef.name };
    const reference = referenceTo(horizontalpodautoscalers, autoscaler);
    const current = scale.spec?.replicas ?? 0;
    try {
      await client.updateScale(resource, { namespace, name }, { ...scale, spec: { ...scale.spec, replicas: desired } });
    } catch (error) {
      const why = reasonOf(error);
      const text = `New size: ${desired}; reason: ${reason}; error: ${why}`;
      recorder.event(reference, 'Warning', 'FailedRescale', text);
      const message = `the HPA controller was unable to update the target scale: ${why}`;
      draft.set('AbleToScale', unable('FailedUpdateScale', message));
      await writeStatus(autoscaler, draft.build({ current }));
      throw error;
    }
    const message = `the HPA controller was able to update the target scale to ${desired}`;
    draft.set('AbleToScale', able('SucceededRescale', message));
    recorder.event(reference, 'Normal', 'SuccessfulRescale', `New size: ${desired}; reason: ${reason}`);
    const key = objectKey(autoscaler);
    const history = histories.get(key) ?? { recommendations: [], changes: [] };
    histories.set(key, remember(history, undefined, desired - current, autoscaler.spec.behavior, clock.now()));
  }

  async function sync(key: string): Promise<void | { requeueAfterMs: number }> {
    const autoscaler = autoscalers.get(key);
    if (autoscaler === undefined || autoscaler.metadata.deletionTimestamp !== undefined) return;
    const draft = draftStatus(autoscaler, clock.now());
    const later = { requeueAfterMs: periodMs };
    const target = await findScale(autoscaler, draft);
    if (target === undefined) return later;
    const current = target.scale.spec?.replicas ?? 0;
    if (!histories.has(key)) {
      histories.set(key, { recommendations: [{ replicas: current, atMs: clock.now() }], changes: [] });
    }
    if (current === 0 && (autoscaler.spec.minReplicas ?? 1) !== 0) {
      const text = 'scaling is disabled since the replica count of the target is zero';
      draft.set('ScalingActive', unable('ScalingDisabled', text));
      await writeStatus(autoscaler, draft.build({ current, desired: 0, metrics: [] }));
      return later;
    }
    const settled = settledSize(autoscaler, current);
    const size = settled ?? (await sizeByMetrics(autoscaler, target.scale, draft));
    if (size === undefined) {
      await writeStatus(autoscaler, draft.build({ current }));
      return later;
    }
    const rescaled = size.desired !== current;
    if (rescaled) await rescale(autoscaler, target, size, draft);
    await writeStatus(autoscaler, draft.build({ current, desired: size.desired, metrics: size.metrics, rescaled }));
    return later;
  }

  const worker = { run: async (signal: AbortSignal) => queue.run(sync, { concurrency: 5, signal }) };
  return { name: context.name, run: async (signal) => runGroup([autoscalers, worker], signal) };
}
