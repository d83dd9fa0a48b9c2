// Sets of pods that rules name: who is in one follows from labels alone, so that rules stay as they are when pods come
// and go. Pure.

import type { IPBlock } from '#kube/api/generated/networking-v1.ts';
import { isCidr } from '#kube/api/ip-address.ts';
import { formatSelector, type LabelRequirements, type Labels, selectorMatches } from '#kube/api/label-selector.ts';
import { isInRanges } from '../model/cidr.ts';
import type { IpFamily } from '../model/service-port.ts';
import { shortHash } from '../plan/short-hash.ts';
import type { PolicyPod } from './policy-pod.ts';

/** Which pods are in a set, and whether it holds their addresses or those with a named port. */
export interface PeerSpec {
  /** A namespace by name, or all whose labels match. */
  namespace: string | undefined;
  namespaces: LabelRequirements | undefined;
  pods: LabelRequirements;
  /** Only addresses in these blocks; all where absent. */
  blocks: readonly IPBlock[] | undefined;
  port: { name: string; protocol: string } | undefined;
}

/** A set's name without the family; the same for equal specs, whichever policy has them. */
export function peerSetName(spec: PeerSpec): string {
  return `${spec.port === undefined ? 'pods' : 'ports'}-${shortHash(JSON.stringify(spec), 12)}`;
}

/** Says in words what the set is. */
export function describePeers({ namespace, namespaces, pods, port }: PeerSpec): string {
  const where = namespace ?? `namespaces ${formatSelector(namespaces ?? []) || 'all'}`;
  const which = formatSelector(pods) || 'all pods';
  return `${where}: ${which}${port === undefined ? '' : ` port ${port.name}`}`;
}

function inBlocks(address: string, blocks: readonly IPBlock[]): boolean {
  return blocks.some(
    ({ cidr, except = [] }) =>
      isCidr(cidr) &&
      cidr.includes(':') === address.includes(':') &&
      isInRanges(address, [cidr]) &&
      !isInRanges(address, except.filter(isCidr)),
  );
}

/** The elements that a pod has in the set of one family; `namespaceLabels` are those of its namespace. */
export function peerElements(spec: PeerSpec, pod: PolicyPod, namespaceLabels: Labels, family: IpFamily): string[] {
  const { namespace, namespaces, pods, blocks, port } = spec;
  if (namespace !== undefined && namespace !== pod.namespace) return [];
  if (namespaces !== undefined && (namespaceLabels === undefined || !selectorMatches(namespaces, namespaceLabels)))
    return [];
  if (!selectorMatches(pods, pod.labels)) return [];
  const addresses = pod.addresses.filter(
    (address) => address.includes(':') === (family === 'IPv6') && (blocks === undefined || inBlocks(address, blocks)),
  );
  if (port === undefined) return addresses;
  const numbers = pod.ports.filter(({ name, protocol }) => name === port.name && protocol === port.protocol);
  return addresses.flatMap((address) =>
    numbers.map((found) => `${address} . ${found.protocol.toLowerCase()} . ${found.port}`),
  );
}
