// Where the backends of proxied requests are: agents, pods and services.
import { isIP } from 'node:net';
import type { Node, Pod, Service } from '#kube/api/generated/core-v1.ts';
import { endpointslices, nodes, pods, services } from '#kube/api/generated/resources.ts';
import { failure } from '#kube/errors/status-error.ts';
import type { ObjectReader } from '../../registry/object-reader.ts';
import { badRequest, notFound } from '../../registry/status-errors.ts';

const defaultAgentPort = 10250;

/** `[scheme:]name[:port]`, as in the paths of proxied pods and services. */
export interface ProxiedName {
  scheme: string;
  name: string;
  port: string;
}

/** Throws StatusError 400. */
export function parseProxiedName(text: string): ProxiedName {
  const parts = text.split(':');
  const [first = '', second = '', third = ''] = parts;
  if (parts.length === 1) return { scheme: 'http', name: first, port: '' };
  if (parts.length === 2) return { scheme: 'http', name: first, port: second };
  if (parts.length === 3 && ['', 'http', 'https'].includes(first)) {
    return { scheme: first === '' ? 'http' : first, name: second, port: third };
  }
  throw badRequest(`invalid service or pod request ${JSON.stringify(text)}`);
}

/** Addresses that mean the API server's own machine or its link are nobody's pod. */
function checkProxyable(address: string): void {
  const isLocal =
    /^(127\.|169\.254\.|0\.|22[4-9]\.|23\d\.)/.test(address) || /^(::1?$|fe[89ab][0-9a-f]:|ff)/i.test(address);
  if (isLocal || isIP(address) === 0) throw badRequest('address not allowed');
}

const bracketed = (address: string): string => (address.includes(':') ? `[${address}]` : address);

function addressOf(node: Node): string | undefined {
  const addresses = node.status?.addresses ?? [];
  for (const type of ['InternalIP', 'ExternalIP', 'Hostname', 'InternalDNS']) {
    const found = addresses.find((each) => each.type === type);
    if (found !== undefined) return found.address;
  }
  return undefined;
}

/** The base URL of a node's agent, or of another `port` of the node. Throws StatusError. */
export function agentUrl(objects: ObjectReader, nodeName: string, wantedPort = ''): URL {
  const node = objects.get(nodes, '', nodeName);
  if (node === undefined) throw notFound(nodes, nodeName);
  const address = addressOf(node);
  if (address === undefined) {
    throw failure(500, 'InternalError', `Internal error occurred: no preferred addresses found; known addresses: []`);
  }
  const port = wantedPort || node.status?.daemonEndpoints?.kubeletEndpoint?.Port || defaultAgentPort;
  return new URL(`https://${bracketed(address)}:${port}`);
}

/** The base URL of a pod's port; without one, its first container port. Throws StatusError. */
export function podUrl(objects: ObjectReader, namespace: string, text: string): URL {
  const { scheme, name, port } = parseProxiedName(text);
  const pod = objects.get(pods, namespace, name);
  if (pod === undefined) throw notFound(pods, name);
  const address = pod.status?.podIP ?? '';
  checkProxyable(address);
  const number = port === '' ? firstPort(pod) : containerPort(pod, port);
  const suffix = number === '' ? '' : `:${number}`;
  return new URL(`${scheme}://${bracketed(address)}${suffix}`);
}

function firstPort(pod: Pod): string {
  const port = pod.spec?.containers.flatMap(({ ports = [] }) => ports)[0]?.containerPort;
  return port === undefined ? '' : String(port);
}

function containerPort(pod: Pod, name: string): string {
  const named = pod.spec?.containers.flatMap(({ ports = [] }) => ports).find((port) => port.name === name);
  return named === undefined ? name : String(named.containerPort);
}

function servicePort(service: Service, port: string): { name: string } | undefined {
  const ports = service.spec?.ports ?? [];
  if (port === '') return ports.length === 1 ? { name: ports[0]?.name ?? '' } : undefined;
  const found = ports.find((each) => each.name === port || String(each.port) === port);
  return found === undefined ? undefined : { name: found.name ?? '' };
}

/** One ready endpoint of a service's port. `random` is in [0, 1). Throws StatusError. */
export function serviceEndpoint(
  objects: ObjectReader,
  namespace: string,
  { name, port }: Pick<ProxiedName, 'name' | 'port'>,
  random: number,
): { address: string; port: number } {
  const service = objects.get(services, namespace, name);
  if (service === undefined) throw notFound(services, name);
  const wanted = servicePort(service, port);
  const unavailable = (why: string) => failure(503, 'ServiceUnavailable', why);
  if (wanted === undefined)
    throw unavailable(`no service port ${JSON.stringify(port)} found for service ${JSON.stringify(name)}`);
  const addresses = objects
    .list(endpointslices, namespace)
    .filter(({ metadata }) => metadata.labels?.['kubernetes.io/service-name'] === name)
    .flatMap((slice) => {
      const target = slice.ports?.find((each) => (each.name ?? '') === wanted.name)?.port;
      if (target === undefined) return [];
      return (slice.endpoints ?? [])
        .filter(({ conditions }) => conditions?.ready !== false)
        .flatMap((endpoint) => endpoint.addresses.slice(0, 1).map((address) => ({ address, port: target })));
    });
  const chosen = addresses[Math.floor(random * addresses.length)];
  if (chosen === undefined) throw unavailable(`no endpoints available for service ${JSON.stringify(name)}`);
  return chosen;
}

/** The base URL of one ready endpoint of a service's port. `random` is in [0, 1). Throws StatusError. */
export function serviceUrl(objects: ObjectReader, namespace: string, text: string, random: number): URL {
  const { scheme, name, port } = parseProxiedName(text);
  const chosen = serviceEndpoint(objects, namespace, { name, port }, random);
  checkProxyable(chosen.address);
  return new URL(`${scheme}://${bracketed(chosen.address)}:${chosen.port}`);
}
