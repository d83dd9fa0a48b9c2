// What a pod asks of the node's system that the node must be able to do (pkg/kubelet/lifecycle, pkg/security/apparmor).
// Pure.
import type { Node, Pod } from '#kube/api/generated/core-v1.ts';
import { containersOf } from '../container/pod-containers.ts';
import { appArmorProfileOf } from '../container/security-context.ts';
import type { Rejection } from './admit-pod.ts';

const osLabel = 'kubernetes.io/os';

/** What the node's system offers to pods beside resources. */
export interface SystemFeatures {
  appArmor: boolean;
}

/** The operating system, and what the runtime has to be able to do. */
export function unsupportedByNode(pod: Pod, node: Node): Rejection | undefined {
  const label = pod.metadata.labels?.[osLabel];
  if (label !== undefined && label !== 'linux') {
    const message = "Failed to admit pod as the `kubernetes.io/os` label doesn't match node label";
    return { reason: 'PodOSSelectorNodeLabelDoesNotMatch', message };
  }
  if (pod.spec.os !== undefined && pod.spec.os.name !== 'linux') {
    return { reason: 'PodOSNotSupported', message: "Failed to admit pod as the OS field doesn't match node OS" };
  }
  const isStrict = pod.spec.securityContext?.supplementalGroupsPolicy === 'Strict';
  if (isStrict && node.status?.features?.supplementalGroupsPolicy !== true) {
    const message = 'SupplementalGroupsPolicy=Strict is not supported in this node';
    return { reason: 'SupplementalGroupsPolicyNotSupported', message };
  }
  return undefined;
}

/** Profiles that the kernel cannot enforce. A pod that runs already was judged before. */
export function unsupportedAppArmor(pod: Pod, features: SystemFeatures): Rejection | undefined {
  if (features.appArmor || (pod.status?.phase ?? 'Pending') !== 'Pending') return undefined;
  const needs = containersOf(pod).some(({ container }) => {
    const type = appArmorProfileOf(pod, container)?.type;
    return type !== undefined && type !== 'Unconfined';
  });
  if (!needs) return undefined;
  return { reason: 'AppArmor', message: 'Cannot enforce AppArmor: AppArmor is not enabled on the host' };
}
