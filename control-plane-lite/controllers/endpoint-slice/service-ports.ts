// The ports of a service as one pod serves them, and whether the pod counts at all. Pure; shared by both endpoint controllers.
import type { Container, Pod, Service, ServicePort } from '#kube/api/generated/core-v1.ts';
import type { EndpointPort } from '#kube/api/generated/discovery-v1.ts';
import { isSidecar } from '#kube/api/pod-resources.ts';
import { isPodTerminal } from '#kube/api/pod-state.ts';

function namedPort(pod: Pod, name: string, protocol: string): number | undefined {
  const sidecars: Container[] = (pod.spec?.initContainers ?? []).filter(isSidecar);
  for (const container of [...(pod.spec?.containers ?? []), ...sidecars]) {
    const port = container.ports?.find(
      (candidate) => candidate.name === name && (candidate.protocol ?? 'TCP') === protocol,
    );
    if (port !== undefined) return port.containerPort;
  }
  return undefined;
}

/** The number behind a service port on this pod; undefined where its name is not known there. */
export function targetPortOf(pod: Pod, port: ServicePort): number | undefined {
  const target = port.targetPort ?? port.port;
  if (typeof target === 'number') return target === 0 ? port.port : target;
  return target === '' ? port.port : namedPort(pod, target, port.protocol ?? 'TCP');
}

/** All ports that the pod serves for the service. */
export function endpointPorts(service: Service, pod: Pod): EndpointPort[] {
  return (service.spec?.ports ?? []).flatMap((port) => {
    const number = targetPortOf(pod, port);
    if (number === undefined) return [];
    return [
      {
        name: port.name ?? '',
        protocol: port.protocol ?? 'TCP',
        port: number,
        ...(port.appProtocol === undefined ? {} : { appProtocol: port.appProtocol }),
      },
    ];
  });
}

/** Equal for equal lists of ports; empty for an empty list. */
export function portsKey(ports: readonly EndpointPort[]): string {
  return ports
    .map(({ name = '', protocol = 'TCP', port, appProtocol = '' }) => `${name}/${protocol}/${port}/${appProtocol}`)
    .join();
}

/** A service without an address of its own. */
export function isHeadless(service: Service): boolean {
  return service.spec?.clusterIP === 'None';
}

/** The pod's host name counts when it names the service as its subdomain. */
export function endpointHostname(service: Service, pod: Pod): string | undefined {
  const { hostname, subdomain } = pod.spec ?? {};
  if (hostname === undefined || hostname === '' || subdomain !== service.metadata.name) return undefined;
  return pod.metadata.namespace === service.metadata.namespace ? hostname : undefined;
}

/** Running or starting, with an address. */
export function hasEndpoint(pod: Pod): boolean {
  if (isPodTerminal(pod)) return false;
  return (pod.status?.podIP ?? '') !== '' || (pod.status?.podIPs ?? []).length > 0;
}
