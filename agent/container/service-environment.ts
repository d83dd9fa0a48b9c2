// Environment variables that describe services, in the format of Docker links (pkg/kubelet/envvars).
import type { Service } from '#kube/api/generated/core-v1.ts';

function variableName(name: string): string {
  return name.toUpperCase().replaceAll('-', '_');
}

function hasClusterIp(service: Service): boolean {
  const ip = service.spec?.clusterIP;
  return ip !== undefined && ip !== '' && ip !== 'None';
}

function linkHost(host: string): string {
  return host.includes(':') ? `[${host}]` : host;
}

function variablesOf(service: Service): [string, string][] {
  const prefix = variableName(service.metadata.name);
  const host = service.spec?.clusterIP ?? '';
  const ports = service.spec?.ports ?? [];
  const first = ports[0];
  if (first === undefined) return [];
  const variables: [string, string][] = [
    [`${prefix}_SERVICE_HOST`, host],
    [`${prefix}_SERVICE_PORT`, `${first.port}`],
  ];
  for (const { name, port } of ports) {
    if (name !== undefined && name !== '') variables.push([`${prefix}_SERVICE_PORT_${variableName(name)}`, `${port}`]);
  }
  ports.forEach(({ protocol = 'TCP', port }, index) => {
    const scheme = protocol.toLowerCase();
    const url = `${scheme}://${linkHost(host)}:${port}`;
    if (index === 0) variables.push([`${prefix}_PORT`, url]);
    const link = `${prefix}_PORT_${port}_${protocol.toUpperCase()}`;
    variables.push([link, url], [`${link}_PROTO`, scheme], [`${link}_PORT`, `${port}`], [`${link}_ADDR`, host]);
  });
  return variables;
}

/**
 * The variables of a pod in `namespace`: the API server's service always, the namespace's own with `enableServiceLinks`.
 */
export function serviceEnvironment(
  services: readonly Service[],
  namespace: string,
  enableServiceLinks: boolean,
): Map<string, string> {
  const chosen = new Map<string, Service>();
  for (const service of services) {
    if (!hasClusterIp(service)) continue;
    const isMaster = service.metadata.namespace === 'default' && service.metadata.name === 'kubernetes';
    if (isMaster && !chosen.has(service.metadata.name)) chosen.set(service.metadata.name, service);
    else if (enableServiceLinks && service.metadata.namespace === namespace) chosen.set(service.metadata.name, service);
  }
  return new Map([...chosen.values()].flatMap(variablesOf));
}
