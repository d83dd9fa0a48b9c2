// What each metric of an autoscaler asks for, and the largest of these.
// Behaviour and texts: upstream's pkg/controller/podautoscaler/horizontal.go.
import type { MetricSpec, MetricStatus } from '#kube/api/generated/autoscaling-v2.ts';
import type { LabelSelector } from '#kube/api/generated/meta-v1.ts';
import { formatSelector, requirementsOf } from '#kube/api/label-selector.ts';
import { formatQuantity, milliQuantityOf, milliValue } from '#kube/api/quantity.ts';
import {
  type Proposal,
  proposeByAverage,
  proposeByShare,
  proposeByUtilization,
  proposeByValue,
  type Situation,
} from './compute-replicas.ts';
import type { MetricsReader } from './read-metrics.ts';

export interface Asked {
  reader: MetricsReader;
  namespace: string;
  /** The target's, as text. */
  selector: string;
  /** Replicas that there are. */
  found: number;
  situation: Situation;
  /** `deployments.apps` of a kind, for metrics of objects. */
  pluralOf(reference: { apiVersion?: string | undefined; kind: string; name: string }): Promise<string>;
}

/** A metric that could not be had; `reason` is for the condition and the event. */
export class MetricFailure extends Error {
  readonly reason: string;
  readonly detail: string;

  constructor(reason: string, message: string, detail: string) {
    super(message);
    this.name = 'MetricFailure';
    this.reason = reason;
    this.detail = detail;
  }
}

interface MetricProposal {
  replicas: number;
  /** For the reason of a change. */
  name: string;
  status: MetricStatus;
}

const shown = (milli: number): string => formatQuantity(milliQuantityOf(Math.round(milli)));
const textOf = (selector: LabelSelector | undefined): string => formatSelector(requirementsOf(selector) ?? []);
const isSet = <T>(value: T | undefined | null): value is T => value !== undefined && value !== null;

async function ofResource(
  { reader, namespace, selector, situation }: Asked,
  { name, target }: NonNullable<MetricSpec['resource']>,
  container: string,
): Promise<{ proposal: Proposal; name: string }> {
  const read = async () => {
    try {
      return await reader.resource(namespace, selector, name, container);
    } catch (error) {
      throw new Error(`unable to get metrics for resource ${name}: ${(error as Error).message}`, { cause: error });
    }
  };
  const what = container === '' ? `${name} resource` : `${name} container resource`;
  if (isSet(target.averageValue)) {
    const proposal = proposeByAverage(situation, await read(), milliValue(target.averageValue), name);
    return { proposal, name: what };
  }
  if (!isSet(target.averageUtilization)) {
    throw new Error(
      `invalid ${container === '' ? '' : 'container '}resource metric source: neither a utilization target nor a value target was set`,
    );
  }
  const proposal = proposeByUtilization(situation, await read(), target.averageUtilization, name, container);
  return { proposal, name: `${what} utilization (percentage of request)` };
}

function resourceCurrent({ utilization, milli }: Proposal) {
  return { ...(utilization === undefined ? {} : { averageUtilization: utilization }), averageValue: shown(milli) };
}

async function ofObject(
  { reader, namespace, situation, found, pluralOf }: Asked,
  { describedObject, metric, target }: NonNullable<MetricSpec['object']>,
): Promise<MetricProposal> {
  const read = async () => {
    try {
      const plural = await pluralOf(describedObject);
      return await reader.object(namespace, plural, describedObject, metric.name, textOf(metric.selector));
    } catch (error) {
      const subject = `${describedObject.kind} ${namespace}/${describedObject.name}`;
      throw new Error(`unable to get metric ${metric.name}: ${subject}: ${(error as Error).message}`, { cause: error });
    }
  };
  const name = `${describedObject.kind} metric ${metric.name}`;
  if (target.type === 'Value' && isSet(target.value)) {
    const { replicas, milli } = proposeByValue(situation, await read(), milliValue(target.value));
    const object = { metric, describedObject, current: { value: shown(milli) } };
    return { replicas, name, status: { type: 'Object', object } };
  }
  if (target.type === 'AverageValue' && isSet(target.averageValue)) {
    const share = proposeByShare(found, await read(), milliValue(target.averageValue), situation.tolerance);
    const object = { metric, describedObject, current: { averageValue: shown(share.milli) } };
    return { replicas: share.replicas, name, status: { type: 'Object', object } };
  }
  throw new Error('invalid object metric source: neither a value target nor an average value target was set');
}

async function ofExternal(
  { reader, namespace, situation, found }: Asked,
  { metric, target }: NonNullable<MetricSpec['external']>,
): Promise<MetricProposal> {
  const selector = textOf(metric.selector);
  const read = async () => {
    try {
      return await reader.external(namespace, metric.name, selector);
    } catch (error) {
      const what = `${namespace}/${metric.name}/${selector === '' ? 'nil' : selector}`;
      throw new Error(`unable to get external metric ${what}: ${(error as Error).message}`, { cause: error });
    }
  };
  const name = `external metric ${metric.name}(${selector === '' ? 'nil' : selector})`;
  if (isSet(target.averageValue)) {
    const share = proposeByShare(found, await read(), milliValue(target.averageValue), situation.tolerance);
    const external = { metric, current: { averageValue: shown(share.milli) } };
    return { replicas: share.replicas, name, status: { type: 'External', external } };
  }
  if (!isSet(target.value)) {
    throw new Error('invalid external metric source: neither a value target nor an average value target was set');
  }
  const { replicas, milli } = proposeByValue(situation, await read(), milliValue(target.value));
  return { replicas, name, status: { type: 'External', external: { metric, current: { value: shown(milli) } } } };
}

async function ofPods(
  { reader, namespace, selector, situation }: Asked,
  { metric, target }: NonNullable<MetricSpec['pods']>,
): Promise<MetricProposal> {
  const metrics = await reader.pods(namespace, selector, metric.name, textOf(metric.selector)).catch((error: Error) => {
    throw new Error(`unable to get metric ${metric.name}: ${error.message}`, { cause: error });
  });
  const { replicas, milli } = proposeByAverage(situation, metrics, milliValue(target.averageValue), '');
  const pods = { metric, current: { averageValue: shown(milli) } };
  return { replicas, name: `pods metric ${metric.name}`, status: { type: 'Pods', pods } };
}

/** What one metric asks for. Throws MetricFailure. */
export async function proposeForMetric(asked: Asked, spec: MetricSpec): Promise<MetricProposal> {
  const failing = (reason: string, what: string) => (error: unknown) => {
    const detail = error instanceof Error ? error.message : String(error);
    throw new MetricFailure(reason, `${what}: ${detail}`, detail);
  };
  const { resource, containerResource, pods, object, external } = spec;
  if (spec.type === 'Resource' && resource !== undefined) {
    const failed = failing('FailedGetResourceMetric', `failed to get ${resource.name} utilization`);
    const { proposal, name } = await ofResource(asked, resource, '').catch(failed);
    const status = { name: resource.name, current: resourceCurrent(proposal) };
    return { replicas: proposal.replicas, name, status: { type: 'Resource', resource: status } };
  }
  if (spec.type === 'ContainerResource' && containerResource !== undefined) {
    const { container } = containerResource;
    const what = `failed to get ${containerResource.name} container metric value`;
    const failed = failing('FailedGetContainerResourceMetric', what);
    const { proposal, name } = await ofResource(asked, containerResource, container).catch(failed);
    const status = { name: containerResource.name, container, current: resourceCurrent(proposal) };
    return { replicas: proposal.replicas, name, status: { type: 'ContainerResource', containerResource: status } };
  }
  if (spec.type === 'Pods' && pods !== undefined) {
    return await ofPods(asked, pods).catch(failing('FailedGetPodsMetric', 'failed to get pods metric value'));
  }
  if (spec.type === 'Object' && object !== undefined) {
    return await ofObject(asked, object).catch(failing('FailedGetObjectMetric', 'failed to get object metric value'));
  }
  if (spec.type === 'External' && external !== undefined) {
    const failed = failing('FailedGetExternalMetric', `failed to get ${external.metric.name} external metric`);
    return await ofExternal(asked, external).catch(failed);
  }
  const text = `unknown metric source type ${JSON.stringify(spec.type)}`;
  throw new MetricFailure('InvalidMetricSourceType', text, text);
}

export interface Proposed {
  replicas: number;
  name: string;
  statuses: MetricStatus[];
  failures: MetricFailure[];
}

/**
 * The largest of what the metrics ask for; the fault says why nothing can be done: none of them is there, or one that
 * is missing might have asked for more than the others, which want less than there is.
 */
export async function proposeReplicas(
  asked: Asked,
  metrics: readonly MetricSpec[],
): Promise<Proposed & { fault: string | undefined }> {
  const proposed: Proposed = { replicas: 0, name: '', statuses: [], failures: [] };
  for (const spec of metrics) {
    try {
      const { replicas, name, status } = await proposeForMetric(asked, spec);
      if (proposed.statuses.length === 0 || replicas > proposed.replicas) Object.assign(proposed, { replicas, name });
      proposed.statuses.push(status);
    } catch (error) {
      if (!(error instanceof MetricFailure)) throw error;
      proposed.failures.push(error);
    }
  }
  const [first] = proposed.failures;
  const isUnsafe =
    first !== undefined && (proposed.statuses.length === 0 || proposed.replicas < asked.situation.replicas);
  const counts = `${proposed.failures.length} invalid out of ${metrics.length}`;
  return { ...proposed, fault: isUnsafe ? `invalid metrics (${counts}), first error is: ${first.message}` : undefined };
}
