// The /etc/hosts file of a pod.
import type { Pod } from '#kube/api/generated/core-v1.ts';
import { usesHostNetwork } from './pod-containers.ts';

const managedHeader = '# Kubernetes-managed hosts file.\n';
const managedHostHeader = '# Kubernetes-managed hosts file (host network).\n';

function aliasLines(pod: Pod): string {
  const aliases = pod.spec.hostAliases ?? [];
  if (aliases.length === 0) return '';
  const lines = aliases.map(({ ip, hostnames }) => `${ip}\t${(hostnames ?? []).join('\t')}\n`);
  return `\n# Entries added by HostAliases.\n${lines.join('')}`;
}

/**
 * The text of the file. `hostText` is the node's own /etc/hosts, used by pods on the host network.
 * Written when the sandbox has its addresses, before any container starts.
 */
export function hostsFile(
  pod: Pod,
  address: { ips: string[]; hostname: string; domain: string },
  hostText: string,
): string {
  if (usesHostNetwork(pod)) return `${managedHostHeader}${hostText}${aliasLines(pod)}`;
  const { ips, hostname, domain } = address;
  const own = ips.map((ip) => (domain === '' ? `${ip}\t${hostname}\n` : `${ip}\t${hostname}.${domain}\t${hostname}\n`));
  const fixed = [
    '127.0.0.1\tlocalhost\n',
    '::1\tlocalhost ip6-localhost ip6-loopback\n',
    'fe00::0\tip6-localnet\n',
    'fe00::0\tip6-mcastprefix\n',
    'fe00::1\tip6-allnodes\n',
    'fe00::2\tip6-allrouters\n',
  ];
  return `${managedHeader}${fixed.join('')}${own.join('')}${aliasLines(pod)}`;
}
