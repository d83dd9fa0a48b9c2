// What a pod calls itself (pkg/kubelet/kubelet_pods.go: GeneratePodHostNameAndDomain).
import type { Pod } from '#kube/api/generated/core-v1.ts';

const maxHostname = 63;
const maxFqdn = 64;

/** The pod's own name and, with a subdomain, its domain in the cluster. */
export function podHostnameAndDomain(pod: Pod, clusterDomain: string): { hostname: string; domain: string } {
  if (pod.spec.hostnameOverride !== undefined) return { hostname: pod.spec.hostnameOverride, domain: '' };
  const wanted = pod.spec.hostname !== undefined && pod.spec.hostname !== '' ? pod.spec.hostname : pod.metadata.name;
  const hostname = wanted.slice(0, maxHostname).replace(/[-.]+$/, '');
  const { subdomain } = pod.spec;
  if (subdomain === undefined || subdomain === '') return { hostname, domain: '' };
  return { hostname, domain: `${subdomain}.${pod.metadata.namespace ?? 'default'}.svc.${clusterDomain}` };
}

/** What the sandbox gets as host name: the full name when the pod asks for it. Throws when that is too long. */
export function sandboxHostname(pod: Pod, clusterDomain: string): string {
  const { hostname, domain } = podHostnameAndDomain(pod, clusterDomain);
  if (pod.spec.setHostnameAsFQDN !== true || domain === '') return hostname;
  const fqdn = `${hostname}.${domain}`;
  if (fqdn.length > maxFqdn) {
    throw new Error(
      `failed to construct FQDN from pod hostname and cluster domain, FQDN ${fqdn} is too long (64 characters is the max, ${fqdn.length} characters requested)`,
    );
  }
  return fqdn;
}
