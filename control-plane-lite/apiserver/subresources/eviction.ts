// pods/NAME/eviction: a deletion that disruption budgets may refuse for now.

import { withCondition } from '#kube/api/conditions.ts';
import type { Pod } from '#kube/api/generated/core-v1.ts';
import type { DeleteOptions } from '#kube/api/generated/meta-v1.ts';
import type { PodDisruptionBudget } from '#kube/api/generated/policy-v1.ts';
import { poddisruptionbudgets, pods } from '#kube/api/generated/resources.ts';
import { labelSelectorMatches } from '#kube/api/label-selector.ts';
import { isPodTerminal, isPodTerminating } from '#kube/api/pod-state.ts';
import type { KubeObject } from '#kube/api/resource.ts';
import { failure, type StatusError } from '#kube/errors/status-error.ts';
import { timestamp } from '../../registry/object-meta.ts';
import type { RequestContext } from '../../registry/request-context.ts';
import { badRequest, notFound, unexplained } from '../../registry/status-errors.ts';
import { finishSteps } from '../../registry/steps.ts';
import { deleteObject } from '../../registry/verbs/delete.ts';
import { updateObject } from '../../registry/verbs/update.ts';
import type { ApiContext, ResourceHandler } from '../api-context.ts';
import { readPosted } from '../handlers/read-posted.ts';
import { requestContext } from '../handlers/request-options.ts';
import { sendObject } from '../http/exchange.ts';

type PodObject = KubeObject & Pod;
type Budget = KubeObject & PodDisruptionBudget;

const retryAfterSeconds = 10;
const violation = "Cannot evict pod as it would violate the pod's disruption budget.";

function tooManyRequests(cause: string, retry: boolean): StatusError {
  return failure(429, 'TooManyRequests', violation, {
    causes: [{ reason: 'DisruptionBudget', message: cause }],
    ...(retry ? { retryAfterSeconds } : {}),
  });
}

/** Pods that serve nobody (any more) are not protected. */
function isUnprotected(pod: PodObject): boolean {
  const { phase } = pod.status ?? {};
  return (
    phase === 'Succeeded' || phase === 'Failed' || phase === 'Pending' || pod.metadata.deletionTimestamp !== undefined
  );
}

function isReady(pod: PodObject): boolean {
  return pod.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') === true;
}

function selects(budget: Budget, pod: PodObject): boolean {
  return labelSelectorMatches(budget.spec?.selector, pod.metadata.labels);
}

/** A pod that is not ready may go where the budget says so. */
function mayGoUnready(budget: Budget, pod: PodObject): boolean {
  if (isReady(pod)) return false;
  if (budget.spec?.unhealthyPodEvictionPolicy === 'AlwaysAllow') return true;
  const { currentHealthy = 0, desiredHealthy = 0 } = budget.status ?? {};
  return desiredHealthy > 0 && currentHealthy >= desiredHealthy;
}

/** The budget with one disruption less, or StatusError 429. */
function spend(budget: Budget, podName: string, nowMs: number): Budget {
  const { name, generation = 0 } = budget.metadata;
  const { status } = budget;
  if ((status?.observedGeneration ?? 0) < generation) {
    throw tooManyRequests(`The disruption budget ${name} is still being processed by the server.`, true);
  }
  const allowed = status?.disruptionsAllowed ?? 0;
  if (status === undefined || allowed <= 0) {
    const { desiredHealthy = 0, currentHealthy = 0 } = status ?? {};
    throw tooManyRequests(
      `The disruption budget ${name} needs ${desiredHealthy} healthy pods and has ${currentHealthy} currently`,
      false,
    );
  }
  const disruptedPods = { ...status.disruptedPods, [podName]: timestamp(nowMs) };
  return { ...budget, status: { ...status, disruptionsAllowed: allowed - 1, disruptedPods } };
}

async function checkBudgets(api: ApiContext, pod: PodObject, context: RequestContext): Promise<void> {
  const { namespace = '', name } = pod.metadata;
  const budgets = api.registry.objects.list(poddisruptionbudgets, namespace).filter((budget) => selects(budget, pod));
  if (budgets.length > 1) {
    throw unexplained(
      'This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.',
    );
  }
  const [budget] = budgets;
  if (budget === undefined || mayGoUnready(budget, pod)) return;
  const request = {
    namespace,
    name: budget.metadata.name,
    subresource: 'status',
    isPatch: true,
    change: (current: KubeObject) => spend(current as Budget, name, context.nowMs),
  };
  await updateObject(api.registry, api.registry.table.get(poddisruptionbudgets), request, context);
}

/** Tells controllers that the pod did not fail by itself: jobs need not count it. */
async function markDisrupted(api: ApiContext, pod: PodObject, context: RequestContext): Promise<void> {
  const { namespace = '', name } = pod.metadata;
  const condition = {
    type: 'DisruptionTarget',
    status: 'True',
    reason: 'EvictionByEvictionAPI',
    message: 'Eviction API: evicting',
    lastTransitionTime: timestamp(context.nowMs),
  };
  const change = (current: KubeObject): KubeObject => {
    const { status } = current as PodObject;
    return {
      ...current,
      status: { ...status, conditions: withCondition(status?.conditions, condition) },
    } as KubeObject;
  };
  const request = { namespace, name, subresource: 'status', isPatch: true, change };
  await updateObject(api.registry, api.registry.table.get(pods), request, context);
}

export const postEviction: ResourceHandler = async (api, exchange) => {
  const kind = { group: 'policy', version: 'v1', kind: 'Eviction' };
  const posted = (await readPosted(api, exchange, kind)) as KubeObject & { deleteOptions?: DeleteOptions };
  const { namespace, name } = exchange.info;
  if ((posted.metadata.name ?? '') !== '' && posted.metadata.name !== name) {
    throw badRequest(`name in URL does not match name in Eviction object: ${posted.metadata.name} != ${name}`);
  }
  const pod = api.registry.objects.get(pods, namespace, name);
  if (pod === undefined) throw notFound(pods, name);
  const asked = requestContext(exchange);
  const options = posted.deleteOptions ?? {};
  const context = { ...asked, dryRun: asked.dryRun || (options.dryRun ?? []).length > 0 };
  const served = api.registry.table.get(pods);
  const { admission, objects } = api.registry;
  const request = { verb: 'create' as const, served, subresource: 'eviction', namespace, name, object: posted };
  const admitted = { ...request, previous: undefined, context, objects };
  await finishSteps(admission.mutate(admitted));
  (await finishSteps(admission.validate(admitted)))();
  if (!isUnprotected(pod)) await checkBudgets(api, pod, context);
  if (!isPodTerminal(pod) && !isPodTerminating(pod)) await markDisrupted(api, pod, context);
  const { uid } = pod.metadata;
  const preconditions = { ...(uid === undefined ? {} : { uid }), ...options.preconditions };
  await deleteObject(api.registry, served, namespace, name, { ...options, preconditions }, context);
  sendObject(exchange, 201, { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Success', code: 201 });
};
