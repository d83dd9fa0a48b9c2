// Defaults of access, quota, scaling and admission objects.
import type {
  MutatingWebhookConfiguration,
  ValidatingWebhookConfiguration,
} from '#kube/api/generated/admissionregistration-v1.ts';
import type { HorizontalPodAutoscaler, HPAScalingRules } from '#kube/api/generated/autoscaling-v2.ts';
import type { LimitRange, LimitRangeItem } from '#kube/api/generated/core-v1.ts';
import type { FlowSchema, PriorityLevelConfiguration } from '#kube/api/generated/flowcontrol-v1.ts';
import type { ClusterRoleBinding, RoleBinding } from '#kube/api/generated/rbac-v1.ts';
import type { PriorityClass } from '#kube/api/generated/scheduling-v1.ts';

const rbacGroup = 'rbac.authorization.k8s.io';

export function defaultBinding(binding: RoleBinding | ClusterRoleBinding): void {
  binding.roleRef.apiGroup ||= rbacGroup;
  for (const subject of binding.subjects ?? []) {
    if (subject.kind === 'User' || subject.kind === 'Group') subject.apiGroup ||= rbacGroup;
  }
}

function defaultLimitItem(item: LimitRangeItem): void {
  if (item.type !== 'Container') return;
  const defaults = { ...item.max, ...item.default };
  if (Object.keys(defaults).length > 0) item.default = defaults;
  const requests = { ...item.min, ...item.default, ...item.defaultRequest };
  if (Object.keys(requests).length > 0) item.defaultRequest = requests;
}

export function defaultLimitRange(range: LimitRange): void {
  for (const item of range.spec.limits) defaultLimitItem(item);
}

const scaleUpRules: HPAScalingRules = {
  stabilizationWindowSeconds: 0,
  selectPolicy: 'Max',
  policies: [
    { type: 'Pods', value: 4, periodSeconds: 15 },
    { type: 'Percent', value: 100, periodSeconds: 15 },
  ],
};
const scaleDownRules: HPAScalingRules = {
  selectPolicy: 'Max',
  policies: [{ type: 'Percent', value: 100, periodSeconds: 15 }],
};

export function defaultHorizontalPodAutoscaler(autoscaler: HorizontalPodAutoscaler): void {
  const { spec } = autoscaler;
  spec.minReplicas ??= 1;
  if ((spec.metrics ?? []).length === 0) {
    spec.metrics = [
      { type: 'Resource', resource: { name: 'cpu', target: { type: 'Utilization', averageUtilization: 80 } } },
    ];
  }
  if (spec.behavior !== undefined) {
    spec.behavior.scaleUp = { ...structuredClone(scaleUpRules), ...spec.behavior.scaleUp };
    spec.behavior.scaleDown = { ...structuredClone(scaleDownRules), ...spec.behavior.scaleDown };
  }
  autoscaler.status ??= { desiredReplicas: 0, currentMetrics: null as unknown as [] };
}

export function defaultPriorityClass(priorityClass: PriorityClass): void {
  priorityClass.preemptionPolicy ??= 'PreemptLowerPriority';
}

export function defaultWebhooks(
  configuration: ValidatingWebhookConfiguration | MutatingWebhookConfiguration,
  mutating: boolean,
): void {
  for (const webhook of configuration.webhooks ?? []) {
    if (webhook.clientConfig.service !== undefined) webhook.clientConfig.service.port ??= 443;
    for (const rule of webhook.rules ?? []) rule.scope ??= '*';
    webhook.failurePolicy ??= 'Fail';
    webhook.matchPolicy ??= 'Equivalent';
    webhook.namespaceSelector ??= {};
    webhook.objectSelector ??= {};
    webhook.timeoutSeconds ??= 10;
    if (mutating && !('reinvocationPolicy' in webhook)) Object.assign(webhook, { reinvocationPolicy: 'Never' });
  }
}

export function defaultFlowSchema(flow: FlowSchema): void {
  flow.spec.matchingPrecedence ??= 1000;
}

export function defaultPriorityLevel(level: PriorityLevelConfiguration): void {
  if (level.spec.limited !== undefined) {
    level.spec.limited.nominalConcurrencyShares ??= 30;
    level.spec.limited.lendablePercent ??= 0;
    const response = level.spec.limited.limitResponse;
    if (response?.queuing !== undefined) {
      response.queuing = { queues: 64, handSize: 8, queueLengthLimit: 50, ...response.queuing };
    }
  }
  if (level.spec.exempt !== undefined) {
    level.spec.exempt.nominalConcurrencyShares ??= 0;
    level.spec.exempt.lendablePercent ??= 0;
  }
}
