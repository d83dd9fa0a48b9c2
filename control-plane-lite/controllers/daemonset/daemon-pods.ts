// Which nodes a DaemonSet's pods belong on, and the pod for a node. Pure.
// Behaviour: upstream's pkg/controller/daemon.
import type { DaemonSet } from '#kube/api/generated/apps-v1.ts';
import type { Node, Pod, PodSpec, Toleration } from '#kube/api/generated/core-v1.ts';
import { daemonsets } from '#kube/api/generated/resources.ts';
import { nodeAffinityAllows } from '#kube/api/node-affinity.ts';
import type { Draft } from '#kube/api/resource.ts';
import {
  firstUntolerated,
  taintDiskPressure,
  taintMemoryPressure,
  taintNetworkUnavailable,
  taintNotReady,
  taintPidPressure,
  taintUnreachable,
  taintUnschedulable,
} from '#kube/api/taints.ts';
import { podFromTemplate } from '../pod-template.ts';
import { revisionHashLabel } from '../revisions/revisions.ts';

function always(key: string, effect: string): Toleration {
  return { key, operator: 'Exists', effect };
}

/** What every daemon pod tolerates besides what its template says. */
function daemonTolerations(spec: PodSpec): Toleration[] {
  return [
    always(taintNotReady, 'NoExecute'),
    always(taintUnreachable, 'NoExecute'),
    always(taintDiskPressure, 'NoSchedule'),
    always(taintMemoryPressure, 'NoSchedule'),
    always(taintPidPressure, 'NoSchedule'),
    always(taintUnschedulable, 'NoSchedule'),
    ...(spec.hostNetwork === true ? [always(taintNetworkUnavailable, 'NoSchedule')] : []),
  ];
}

function withTolerations(spec: PodSpec): PodSpec {
  const own = spec.tolerations ?? [];
  const text = new Set(own.map((toleration) => JSON.stringify(toleration)));
  const added = daemonTolerations(spec).filter((toleration) => !text.has(JSON.stringify(toleration)));
  return { ...spec, tolerations: [...own, ...added] };
}

/** Binds the pod to a node through the scheduler, which still decides whether there is room. */
function onNode(spec: PodSpec, nodeName: string): PodSpec {
  const term = { matchFields: [{ key: 'metadata.name', operator: 'In', values: [nodeName] }] };
  const nodeAffinity = {
    ...spec.affinity?.nodeAffinity,
    requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [term] },
  };
  return { ...spec, affinity: { ...spec.affinity, nodeAffinity } };
}

/** Whether pods are started on the node, and whether one that runs there may go on. */
export function daemonFit(daemonSet: DaemonSet, node: Node): { shouldRun: boolean; mayContinue: boolean } {
  const spec = withTolerations(daemonSet.spec.template.spec ?? { containers: [] });
  const allowed = nodeAffinityAllows(spec, node) && (spec.nodeName ?? node.metadata.name) === node.metadata.name;
  if (!allowed) return { shouldRun: false, mayContinue: false };
  const evicting = firstUntolerated(node.spec?.taints, spec.tolerations, ['NoExecute']) !== undefined;
  const repelling = firstUntolerated(node.spec?.taints, spec.tolerations, ['NoSchedule']) !== undefined;
  return { shouldRun: !evicting && !repelling, mayContinue: !evicting };
}

/** The node a daemon pod is on or meant for. */
export function daemonNodeOf(pod: Pod): string {
  const assigned = pod.spec?.nodeName ?? '';
  if (assigned !== '') return assigned;
  const terms = pod.spec?.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms;
  const field = terms?.[0]?.matchFields?.find(({ key }) => key === 'metadata.name');
  return field?.values?.[0] ?? '';
}

/** The pod for one node, of the revision with this hash. */
export function draftDaemonPod(daemonSet: DaemonSet, nodeName: string, hash: string): Draft<Pod> {
  const draft = podFromTemplate(daemonSet.spec.template, daemonsets, daemonSet);
  const spec = onNode(withTolerations(draft.spec ?? { containers: [] }), nodeName);
  return { metadata: { ...draft.metadata, labels: { ...draft.metadata.labels, [revisionHashLabel]: hash } }, spec };
}
