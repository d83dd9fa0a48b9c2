// The whole PodStatus of a pod on this node (pkg/kubelet/kubelet_pods.go: generateAPIPodStatus). Pure.
import type {
  ContainerStatus,
  Pod,
  PodCondition,
  PodStatus,
  ResourceRequirements,
} from '#kube/api/generated/core-v1.ts';
import { qosClassOf } from '#kube/api/pod-qos.ts';
import { podLimits, podRequests, type ResourceAmounts } from '#kube/api/pod-resources.ts';
import { formatQuantity, milliQuantityOf, parseQuantity, quantityOf } from '#kube/api/quantity.ts';
import { asContainer, containersOf, usesHostNetwork } from '../container/pod-containers.ts';
import { podIps } from '../runtime-cache/pod-runtime.ts';
import { restartAllTriggers } from '../sync/plan-restart-all.ts';
import { mayRestartAll } from '../sync/restart-policy.ts';
import { computeConditions, disruptionReason } from './compute-conditions.ts';
import { computeContainerStatus, type StatusInputs } from './compute-container-statuses.ts';
import { computePhase } from './compute-phase.ts';

/** Inputs of the pod's status beyond those of its containers. */
export interface PodStatusInputs extends StatusInputs {
  hostIps: string[];
  /** What became of a change of the pod's resources. */
  resizeConditions?: readonly PodCondition[];
  /** No container will run again: the pod was deleted, evicted or has finished. */
  terminal: boolean;
  /** Why the pod was ended or refused by the node, where it was. */
  ended?: { phase: 'Failed'; reason: string; message: string } | undefined;
  /** The node ends the pod for the sake of others: why. */
  disruption?: string | undefined;
}

/** Amounts in the notation the pod's own definition uses for the resource. */
function formatAmounts(pod: Pod, amounts: ResourceAmounts): Record<string, string> {
  const written = new Map<string, string>();
  for (const { kind, container } of containersOf(pod)) {
    // They ask for nothing that counts.
    if (kind === 'ephemeral') continue;
    const { requests, limits } = container.resources ?? {};
    for (const [name, text] of Object.entries({ ...pod.spec.overhead, ...limits, ...requests }))
      written.set(name, text);
  }
  const result: Record<string, string> = {};
  for (const [name, amount] of [...amounts].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const { format } = parseQuantity(written.get(name) ?? '0');
    result[name] = formatQuantity(name === 'cpu' ? milliQuantityOf(amount, format) : quantityOf(amount, format));
  }
  return result;
}

function computeResources(pod: Pod, actuated: Pod): Pick<PodStatus, 'resources' | 'allocatedResources'> {
  const limits = formatAmounts(actuated, podLimits(actuated));
  const requests = formatAmounts(actuated, podRequests(actuated));
  const allocated = formatAmounts(pod, podRequests(pod));
  const resources: ResourceRequirements = {};
  if (Object.keys(limits).length > 0) resources.limits = limits;
  if (Object.keys(requests).length > 0) resources.requests = requests;
  return { resources, ...(Object.keys(allocated).length > 0 ? { allocatedResources: allocated } : {}) };
}

/** A container that never ran, or was lost, in a pod that has ended. */
function endLost(status: ContainerStatus): ContainerStatus {
  if (status.state?.terminated !== undefined) return status;
  const message = 'The container could not be located when the pod was terminated';
  const lost = { exitCode: 137, reason: 'ContainerStatusUnknown', message };
  return { ...status, state: { terminated: lost }, ready: false, started: false };
}

/** Whether an ordinary container ever started, or the last init container did its part: only then were they due. */
function hasInitialized(pod: Pod, { containerStatuses = [], initContainerStatuses = [] }: PodStatus): boolean {
  const last = pod.spec.initContainers?.at(-1);
  if (last === undefined) return true;
  if (containerStatuses.some(({ state, lastState }) => (lastState?.terminated ?? state?.running) !== undefined)) {
    return true;
  }
  const status = initContainerStatuses.at(-1);
  if (last.restartPolicy === 'Always') return status?.started === true;
  return [status?.state, status?.lastState].some((state) => state?.terminated?.exitCode === 0);
}

/** How many init containers, from the first, had their turn. */
function countStarted(statuses: readonly ContainerStatus[]): number {
  const last = statuses.findLastIndex(
    ({ state, lastState }) => state?.waiting === undefined || lastState?.terminated !== undefined,
  );
  return Math.max(last, 0) + 1;
}

/** The last word about a pod: every container that was due has ended, and so has the pod. Conditions stay as they are. */
export function endPodStatus(pod: Pod, status: PodStatus): PodStatus {
  const { initContainerStatuses: init, containerStatuses, phase } = status;
  const started = countStarted(init ?? []);
  const isDue = hasInitialized(pod, status);
  return {
    ...status,
    ...(init === undefined
      ? {}
      : { initContainerStatuses: init.map((item, index) => (index < started ? endLost(item) : item)) }),
    ...(containerStatuses === undefined
      ? {}
      : { containerStatuses: isDue ? containerStatuses.map(endLost) : containerStatuses }),
    phase: phase === 'Succeeded' ? phase : 'Failed',
  };
}

function addresses(inputs: PodStatusInputs): Partial<PodStatus> {
  const { pod, observed, hostIps } = inputs;
  const current = usesHostNetwork(pod) ? hostIps : podIps(observed);
  // A pod keeps its addresses in its status after its sandbox has stopped.
  const ips = current.length > 0 ? current : (pod.status?.podIPs ?? []).map(({ ip }) => ip);
  const [hostIP] = hostIps;
  return {
    ...(hostIP === undefined ? {} : { hostIP, hostIPs: hostIps.map((ip) => ({ ip })) }),
    ...(ips[0] === undefined ? {} : { podIP: ips[0], podIPs: ips.map((ip) => ({ ip })) }),
  };
}

function disruptionOf({ pod, disruption }: PodStatusInputs): PodCondition[] {
  if (disruption === undefined) return [];
  const { generation } = pod.metadata;
  return [
    {
      type: 'DisruptionTarget',
      ...(generation === undefined ? {} : { observedGeneration: generation }),
      status: 'True',
      reason: disruptionReason,
      message: disruption,
    },
  ];
}

/** Computes the status. Transition times and the start time are left to the merge with the previous status. */
export function computePodStatus(inputs: PodStatusInputs): PodStatus {
  const { pod, observed, terminal, ended } = inputs;
  const { initContainers = [], containers, ephemeralContainers = [] } = pod.spec;
  const initStatuses = initContainers.map((item) => computeContainerStatus(inputs, 'init', item));
  const statuses = containers
    .map((item) => computeContainerStatus(inputs, 'regular', item))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
  const ephemeral = ephemeralContainers.map((item) => computeContainerStatus(inputs, 'ephemeral', asContainer(item)));
  const phase = ended?.phase ?? computePhase(pod, initStatuses, statuses, terminal);
  const sandbox = observed.sandboxes[0];
  const sandboxReady = sandbox?.ready === true && (sandbox.hostNetwork || sandbox.ips.length > 0);
  const restartingAll = mayRestartAll(pod) ? restartAllTriggers(pod, observed).length > 0 : undefined;
  const { generation } = pod.metadata;
  return {
    ...(generation === undefined ? {} : { observedGeneration: generation }),
    phase,
    ...(ended === undefined ? {} : { reason: ended.reason, message: ended.message }),
    conditions: [
      ...computeConditions({ pod, phase, initStatuses, statuses, sandboxReady, restartingAll }),
      ...(inputs.resizeConditions ?? []),
      ...disruptionOf(inputs),
    ],
    ...addresses(inputs),
    ...(initStatuses.length > 0 ? { initContainerStatuses: initStatuses } : {}),
    containerStatuses: statuses,
    ...(ephemeral.length > 0 ? { ephemeralContainerStatuses: ephemeral } : {}),
    qosClass: qosClassOf(pod),
    ...computeResources(pod, inputs.actuated ?? pod),
  };
}
