// Labels and taints that a node may give itself (cmd/kubelet/app/options/options.go: ValidateKubeletFlags,
// pkg/util/taints). Pure.
import { isReservedNodeLabel, nodeLabelDomains, nodeLabels } from '#kube/api/kubelet-labels.ts';
import { type Fields, isRecord } from './merge-layers.ts';

const effects = ['NoSchedule', 'PreferNoSchedule', 'NoExecute'];
const namePattern = /^[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/;

function isName(key: string): boolean {
  const parts = key.split('/');
  const [domain, name] = parts.length === 2 ? parts : [undefined, key];
  if (parts.length > 2 || !namePattern.test(name ?? '')) return false;
  return domain === undefined || /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/.test(domain);
}

function isValue(value: string): boolean {
  return value === '' || namePattern.test(value);
}

/** Mistakes in --node-labels and registerWithTaints, each as one sentence. */
export function validateNode(c: Fields, labels: Record<string, string>): string[] {
  const mistakes: string[] = [];
  const reserved = Object.keys(labels).filter(isReservedNodeLabel).sort();
  if (reserved.length > 0) {
    const unknown = `unknown 'kubernetes.io' or 'k8s.io' labels specified with --node-labels: [${reserved.join(' ')}]`;
    const prefixes = nodeLabelDomains.join(', ');
    const allowed = [...nodeLabels].sort().join(', ');
    mistakes.push(
      `${unknown}; --node-labels in the 'kubernetes.io' namespace must begin with an allowed prefix (${prefixes}) or be in the specifically allowed set (${allowed})`,
    );
  }
  for (const [key, value] of Object.entries(labels)) {
    if (!isName(key)) mistakes.push(`invalid label key ${JSON.stringify(key)} in --node-labels`);
    if (!isValue(value)) mistakes.push(`invalid label value ${JSON.stringify(value)} in --node-labels`);
  }
  for (const taint of Array.isArray(c['registerWithTaints']) ? c['registerWithTaints'] : []) {
    const { key, value = '', effect, timeAdded } = isRecord(taint) ? taint : {};
    const isValid = isName(String(key)) && isValue(String(value)) && effects.includes(String(effect));
    if (!isValid) mistakes.push(`invalid taint: ${String(key)}=${String(value)}:${String(effect)}`);
    if (timeAdded !== undefined && timeAdded !== null) {
      mistakes.push('invalid configuration: taint.TimeAdded is not nil');
    }
  }
  return mistakes;
}
