// Kubernetes' own labels that a node may give itself (k8s.io/kubelet/pkg/apis: IsKubeletLabel). Pure.

/** Those that are named one by one. */
export const nodeLabels: ReadonlySet<string> = new Set([
  'kubernetes.io/hostname',
  'kubernetes.io/arch',
  'kubernetes.io/os',
  'beta.kubernetes.io/arch',
  'beta.kubernetes.io/os',
  'beta.kubernetes.io/instance-type',
  'node.kubernetes.io/instance-type',
  'failure-domain.beta.kubernetes.io/region',
  'failure-domain.beta.kubernetes.io/zone',
  'failure-domain.kubernetes.io/region',
  'failure-domain.kubernetes.io/zone',
  'topology.kubernetes.io/region',
  'topology.kubernetes.io/zone',
]);

/** Domains, and those below them, whose labels are all a node's own. */
export const nodeLabelDomains: readonly string[] = ['kubelet.kubernetes.io', 'node.kubernetes.io'];

function isBelow(domain: string, parent: string): boolean {
  return domain === parent || domain.endsWith(`.${parent}`);
}

/** True for labels of the kubernetes.io and k8s.io domains that are not a node's own. */
export function isReservedNodeLabel(label: string): boolean {
  const domain = label.includes('/') ? label.slice(0, label.indexOf('/')) : '';
  if (!isBelow(domain, 'kubernetes.io') && !isBelow(domain, 'k8s.io')) return false;
  return !nodeLabels.has(label) && !nodeLabelDomains.some((parent) => isBelow(domain, parent));
}
