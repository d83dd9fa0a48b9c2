// The request for a pod's sandbox (pkg/kubelet/kuberuntime/kuberuntime_sandbox.go).
import type { Pod } from '#kube/api/generated/core-v1.ts';
import { amountsOf, podLimits, podRequests } from '#kube/api/pod-resources.ts';
import type { PodSandboxConfig } from '#proto/generated/cri/runtime/v1/PodSandboxConfig.ts';
import type { PortMapping } from '#proto/generated/cri/runtime/v1/PortMapping.ts';
import type { UserNamespace } from '#proto/generated/cri/runtime/v1/UserNamespace.ts';
import { type ResourceSettings, sandboxResources } from './container-resources.ts';
import { computeDnsConfig, type DnsSettings } from './dns-config.ts';
import { sandboxHostname } from './hostname.ts';
import { sandboxLabels } from './labels.ts';
import { podLogsDirectory } from './log-paths.ts';
import { containersOf, usesHostNetwork } from './pod-containers.ts';
import { sandboxSecurityContext } from './security-context.ts';

/** Node settings that sandboxes depend on. */
export interface SandboxSettings {
  podLogsDir: string;
  dns: DnsSettings;
  resources: ResourceSettings;
}

/** One port of the node, once: what is listed twice is one mapping. */
function portMappings(pod: Pod): PortMapping[] {
  const mappings = new Map<string, PortMapping>();
  for (const { kind, container } of containersOf(pod)) {
    if (kind === 'ephemeral') continue;
    for (const { name, containerPort, hostPort, protocol, hostIP } of container.ports ?? []) {
      const mapping: PortMapping = {
        containerPort,
        ...(hostPort === undefined ? {} : { hostPort }),
        ...(protocol === 'UDP' || protocol === 'SCTP' ? { protocol } : {}),
        ...(hostIP === undefined ? {} : { hostIp: hostIP }),
      };
      const key = `${container.name}|${name ?? ''}|${JSON.stringify(mapping)}`;
      if (!mappings.has(key)) mappings.set(key, mapping);
    }
  }
  return [...mappings.values()];
}

/** A setting's name with dots for slashes; where the first separator is a slash, dots stand for slashes. */
function dotted(name: string): string {
  const first = name.search(/[./]/);
  if (first < 0 || name[first] === '.') return name;
  return name.replace(/[./]/g, (separator) => (separator === '/' ? '.' : '/'));
}

/** Builds the request. Throws when the pod's full host name is too long. */
export function sandboxConfig(
  pod: Pod,
  attempt: number,
  cgroupParent: string,
  settings: SandboxSettings,
  users?: UserNamespace,
): PodSandboxConfig {
  const { name, namespace = 'default', uid = '' } = pod.metadata;
  const mappings = usesHostNetwork(pod) ? [] : portMappings(pod);
  const sysctls = Object.fromEntries(
    (pod.spec.securityContext?.sysctls ?? []).map(({ name, value }) => [dotted(name), value]),
  );
  const overhead = amountsOf(pod.spec.overhead);
  return {
    metadata: { name, uid, namespace, ...(attempt === 0 ? {} : { attempt }) },
    // On the host network the pod has the node's name.
    ...(usesHostNetwork(pod) ? {} : { hostname: sandboxHostname(pod, settings.dns.clusterDomain) }),
    logDirectory: podLogsDirectory(settings.podLogsDir, namespace, name, uid),
    dnsConfig: computeDnsConfig(pod, settings.dns).config,
    ...(mappings.length > 0 ? { portMappings: mappings } : {}),
    labels: sandboxLabels(pod),
    annotations: { ...pod.metadata.annotations },
    linux: {
      cgroupParent,
      securityContext: sandboxSecurityContext(pod, users),
      ...(Object.keys(sysctls).length > 0 ? { sysctls } : {}),
      overhead: overhead.size > 0 ? sandboxResources(overhead, overhead, settings.resources) : {},
      resources: sandboxResources(podRequests(pod), podLimits(pod), settings.resources),
    },
  };
}
