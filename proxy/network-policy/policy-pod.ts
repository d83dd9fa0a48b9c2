// What policies look at in a Pod: whose it is, its labels, addresses and named ports. Checked, because it becomes rules.
import { isIP } from 'node:net';
import type { Pod } from '#kube/api/generated/core-v1.ts';
import { canonicalAddress } from '#kube/api/ip-address.ts';

export interface NamedPort {
  name: string;
  protocol: string;
  port: number;
}

export interface PolicyPod {
  /** `namespace/name`. */
  key: string;
  namespace: string;
  labels: Readonly<Record<string, string>>;
  addresses: string[];
  ports: NamedPort[];
  isLocal: boolean;
}

function containersOf(pod: Pod) {
  // Sidecars are init containers that go on.
  const sidecars = (pod.spec?.initContainers ?? []).filter(({ restartPolicy }) => restartPolicy === 'Always');
  return [...(pod.spec?.containers ?? []), ...sidecars];
}

/** The pod as policies see it; undefined for one that has no address of its own, or has ended. */
export function policyPodOf(pod: Pod, nodeName: string): PolicyPod | undefined {
  const { namespace = '', name, labels = {} } = pod.metadata;
  if (pod.spec?.hostNetwork === true) return undefined;
  if (pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed') return undefined;
  const told = pod.status?.podIPs?.map(({ ip }) => ip) ?? (pod.status?.podIP === undefined ? [] : [pod.status.podIP]);
  const addresses = told.filter((ip) => isIP(ip) !== 0).map(canonicalAddress);
  if (addresses.length === 0) return undefined;
  const ports = containersOf(pod).flatMap((container) =>
    (container.ports ?? []).flatMap(({ name: portName, protocol = 'TCP', containerPort }) =>
      portName === undefined ? [] : [{ name: portName, protocol, port: containerPort }],
    ),
  );
  const isLocal = pod.spec?.nodeName === nodeName;
  return { key: `${namespace}/${name}`, namespace, labels, addresses, ports, isLocal };
}

/** What is stored of Pods: all of the cluster are watched for a few fields. */
export function trimPod(pod: Pod): Pod {
  const { name, namespace, uid, resourceVersion, labels } = pod.metadata;
  const ports = containersOf(pod).flatMap((container) => container.ports ?? []);
  const { nodeName, hostNetwork } = pod.spec ?? {};
  const { phase, podIP, podIPs } = pod.status ?? {};
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace, uid, resourceVersion, labels },
    spec: { nodeName, hostNetwork, containers: ports.length === 0 ? [] : [{ name: '', ports }] },
    status: { phase, podIP, podIPs },
  };
}
