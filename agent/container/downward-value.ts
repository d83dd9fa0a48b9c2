// Values of the downward API: fields of the pod and resources of a container, for variables and volume files.
import type { Container, ObjectFieldSelector, Pod, ResourceFieldSelector } from '#kube/api/generated/core-v1.ts';
import { parseQuantity } from '#kube/api/quantity.ts';
import { containersOf } from './pod-containers.ts';

/** What is not in the pod's definition. */
export interface DownwardSettings {
  hostIps: string[];
  podIps: string[];
  /** Stands in for a limit that is not set, by resource name. */
  nodeAllocatable: Record<string, string>;
}

/** Escaped as Go's %q does for the text of labels and annotations. */
function quote(text: string): string {
  return JSON.stringify(text).replace(/[\u0080-\uffff]/g, (character) => character);
}

function formatMap(map: Record<string, string> | undefined): string {
  return Object.keys(map ?? {})
    .sort()
    .map((key) => `${key}=${quote(map?.[key] ?? '')}`)
    .join('\n');
}

/** The value of a fieldRef. Throws for a path that is not offered. */
export function fieldValue(pod: Pod, selector: ObjectFieldSelector, settings: DownwardSettings): string {
  const path = selector.fieldPath;
  const subscript = /^metadata\.(labels|annotations)\['(.*)'\]$/.exec(path);
  if (subscript !== null) {
    const map = subscript[1] === 'labels' ? pod.metadata.labels : pod.metadata.annotations;
    return map?.[subscript[2] ?? ''] ?? '';
  }
  switch (path) {
    case 'metadata.name':
      return pod.metadata.name;
    case 'metadata.namespace':
      return pod.metadata.namespace ?? '';
    case 'metadata.uid':
      return pod.metadata.uid ?? '';
    case 'metadata.labels':
      return formatMap(pod.metadata.labels);
    case 'metadata.annotations':
      return formatMap(pod.metadata.annotations);
    case 'spec.nodeName':
      return pod.spec.nodeName ?? '';
    case 'spec.serviceAccountName':
      return pod.spec.serviceAccountName ?? '';
    case 'status.hostIP':
      return settings.hostIps[0] ?? '';
    case 'status.hostIPs':
      return settings.hostIps.join(',');
    case 'status.podIP':
      return settings.podIps[0] ?? '';
    case 'status.podIPs':
      return settings.podIps.join(',');
    default:
      throw new Error(`unsupported fieldPath: ${path}`);
  }
}

/** The value of a resourceFieldRef, in units of its divisor, rounded up. */
export function resourceValue(
  pod: Pod,
  owner: Container,
  selector: ResourceFieldSelector,
  settings: DownwardSettings,
): string {
  const named = selector.containerName;
  const container =
    named === undefined || named === ''
      ? owner
      : containersOf(pod).find((item) => item.container.name === named)?.container;
  if (container === undefined) throw new Error(`container ${named} not found`);
  const [side, ...rest] = selector.resource.split('.');
  const resource = rest.join('.');
  if (side !== 'limits' && side !== 'requests')
    throw new Error(`unsupported container resource : ${selector.resource}`);
  const { limits, requests } = container.resources ?? {};
  const text =
    side === 'limits'
      ? (limits?.[resource] ?? pod.spec.resources?.limits?.[resource] ?? settings.nodeAllocatable[resource])
      : requests?.[resource];
  const divisor = parseQuantity(selector.divisor === undefined || selector.divisor === '0' ? '1' : selector.divisor);
  const value = parseQuantity(text ?? '0');
  if (divisor.nano === 0n) throw new Error(`divisor of ${selector.resource} is zero`);
  const quotient = value.nano / divisor.nano;
  return `${value.nano % divisor.nano === 0n ? quotient : quotient + 1n}`;
}
