// The request for a pod's sandbox (pkg/kubelet/kuberuntime/kuberuntime_sandbox.go).
import type { Pod } from '#kube/api/generated/core-v1.ts';
import { amountsOf, podLimits, podRequests } from '#kube/api/pod-resources.ts';
import type { PodSandboxConfig } from '#proto/generated/cri/runtime/v1/PodSandboxConfig.ts';
import type { PortMapping } from '#proto/generated/cri/runtime/v1/PortMapping.ts';
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

function portMappings(pod: Pod): PortMapping[] {
  return containersOf(pod).flatMap(({ kind, container }) =>
    kind === 'ephemeral'
      ? []
      : (container.ports ?? []).map(({ containerPort, hostPort, protocol, hostIP }) => ({
          containerPort,
          ...(hostPort === undefined ? {} : { hostPort }),
          ...(protocol === 'UDP' || protocol === 'SCTP' ? { protocol } : {}),
          ...(hostIP === undefined ? {} : { hostIp: hostIP }),
        })),
  );
}

/** Builds the request. Throws when the pod's full host name is too long. */
export function sandboxConfig(
  pod: Pod,
  attempt: number,
  cgroupParent: string,
  settings: SandboxSettings,
): PodSandboxConfig {
  if (pod.spec.hostUsers === false) {
    throw new Error('pods with user namespaces of their own (hostUsers: false) are not supported on this node');
  }
  const { name, namespace = 'default', uid = '' } = pod.metadata;
  const mappings = usesHostNetwork(pod) ? [] : portMappings(pod);
  const sysctls = Object.fromEntries((pod.spec.securityContext?.sysctls ?? []).map((item) => [item.name, item.value]));
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
      securityContext: sandboxSecurityContext(pod),
      ...(Object.keys(sysctls).length > 0 ? { sysctls } : {}),
      overhead: overhead.size > 0 ? sandboxResources(overhead, overhead, settings.resources) : {},
      resources: sandboxResources(podRequests(pod), podLimits(pod), settings.resources),
    },
  };
}
