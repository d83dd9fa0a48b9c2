// HorizontalPodAutoscalers between autoscaling/v2, which is stored, and v1, which knows only CPU utilisation.
// What v1 cannot say travels in the annotations that the reference uses.
import type { HorizontalPodAutoscaler as V1 } from '#kube/api/generated/autoscaling-v1.ts';
import type {
  HorizontalPodAutoscalerBehavior,
  HorizontalPodAutoscalerCondition,
  MetricSpec,
  MetricStatus,
  HorizontalPodAutoscaler as V2,
} from '#kube/api/generated/autoscaling-v2.ts';
import type { KubeObject } from '#kube/api/resource.ts';

const metricsAnnotation = 'autoscaling.alpha.kubernetes.io/metrics';
const statusesAnnotation = 'autoscaling.alpha.kubernetes.io/current-metrics';
const conditionsAnnotation = 'autoscaling.alpha.kubernetes.io/conditions';
const behaviorAnnotation = 'autoscaling.alpha.kubernetes.io/behavior';

const isCpuUtilization = (metric: MetricSpec): boolean =>
  metric.type === 'Resource' &&
  metric.resource?.name === 'cpu' &&
  metric.resource.target.averageUtilization !== undefined;

function readAnnotation<T>(annotations: Record<string, string>, name: string): T | undefined {
  const text = annotations[name];
  if (text === undefined) return undefined;
  delete annotations[name];
  try {
    return JSON.parse(text) as T;
  } catch {
    return undefined;
  }
}

/** v1 to v2. */
export function autoscalerToV2(object: KubeObject): KubeObject {
  const { metadata, spec, status } = object as unknown as V1;
  const annotations: Record<string, string> = { ...metadata?.annotations };
  const metrics = readAnnotation<MetricSpec[]>(annotations, metricsAnnotation) ?? [];
  const behavior = readAnnotation<HorizontalPodAutoscalerBehavior>(annotations, behaviorAnnotation);
  const currentMetrics = readAnnotation<MetricStatus[]>(annotations, statusesAnnotation);
  const conditions = readAnnotation<HorizontalPodAutoscalerCondition[]>(annotations, conditionsAnnotation);
  const { targetCPUUtilizationPercentage: percentage, ...rest } = spec ?? { maxReplicas: 0, scaleTargetRef: {} };
  if (percentage !== undefined) {
    const target = { type: 'Utilization', averageUtilization: percentage };
    metrics.unshift({ type: 'Resource', resource: { name: 'cpu', target } });
  }
  const { currentCPUUtilizationPercentage: _, ...state } = status ?? { currentReplicas: 0, desiredReplicas: 0 };
  return {
    kind: 'HorizontalPodAutoscaler',
    apiVersion: 'autoscaling/v2',
    metadata: { ...metadata, ...(Object.keys(annotations).length > 0 ? { annotations } : {}) },
    spec: { ...rest, ...(metrics.length > 0 ? { metrics } : {}), ...(behavior === undefined ? {} : { behavior }) },
    status: {
      ...state,
      ...(currentMetrics === undefined ? {} : { currentMetrics }),
      ...(conditions === undefined ? {} : { conditions }),
    },
  } as unknown as KubeObject;
}

/** v2 to v1. */
export function autoscalerFromV2(object: KubeObject): KubeObject {
  const { metadata, spec, status } = object as unknown as V2;
  const annotations: Record<string, string> = { ...metadata?.annotations };
  const { metrics = [], behavior, ...rest } = spec ?? { maxReplicas: 0, scaleTargetRef: { kind: '', name: '' } };
  const cpu = metrics.find(isCpuUtilization);
  const others = metrics.filter((metric) => metric !== cpu);
  if (others.length > 0) annotations[metricsAnnotation] = JSON.stringify(others);
  if (behavior !== undefined) annotations[behaviorAnnotation] = JSON.stringify(behavior);
  const { currentMetrics, conditions, ...state } = status ?? { desiredReplicas: 0 };
  const used = currentMetrics?.find((metric) => metric.type === 'Resource' && metric.resource?.name === 'cpu');
  const otherStatuses = (currentMetrics ?? []).filter((metric) => metric !== used);
  if (otherStatuses.length > 0) annotations[statusesAnnotation] = JSON.stringify(otherStatuses);
  if ((conditions ?? []).length > 0) annotations[conditionsAnnotation] = JSON.stringify(conditions);
  const target = cpu?.resource?.target.averageUtilization;
  const current = used?.resource?.current.averageUtilization;
  return {
    kind: 'HorizontalPodAutoscaler',
    apiVersion: 'autoscaling/v1',
    metadata: { ...metadata, ...(Object.keys(annotations).length > 0 ? { annotations } : {}) },
    spec: { ...rest, ...(target === undefined ? {} : { targetCPUUtilizationPercentage: target }) },
    status: {
      currentReplicas: 0,
      ...state,
      ...(current === undefined ? {} : { currentCPUUtilizationPercentage: current }),
    },
  } as unknown as KubeObject;
}
