// Rules of services, endpoints and endpoint slices.
import { isIP } from 'node:net';
import type { Endpoints, Service, ServicePort } from '#kube/api/generated/core-v1.ts';
import type { EndpointSlice } from '#kube/api/generated/discovery-v1.ts';
import { dns1123LabelFaults, dns1123SubdomainFaults, qualifiedNameFaults } from '#kube/api/names.ts';
import {
  duplicateField,
  type FieldError,
  forbiddenField,
  invalidField,
  requiredField,
  tooManyField,
} from '#kube/errors/field-error.ts';
import {
  cidr,
  ipAddress,
  labels,
  oneOf,
  portNumber,
  portNumberOrName,
  requiredOneOf,
  syntax,
  unchanged,
  within,
} from './field-checks.ts';

const protocols = ['SCTP', 'TCP', 'UDP'];
const serviceTypes = ['ClusterIP', 'ExternalName', 'LoadBalancer', 'NodePort'];
const oneDaySeconds = 86400;
const maxEndpointsPerSlice = 1000;
const maxPortsPerSlice = 20000;
const maxAddressesPerEndpoint = 100;

function validatePort(at: string, port: ServicePort, nameRequired: boolean): FieldError[] {
  const errors: FieldError[] = [];
  if (nameRequired && !port.name) errors.push(requiredField(`${at}.name`));
  else if (port.name) errors.push(...syntax(`${at}.name`, port.name, dns1123LabelFaults));
  errors.push(...portNumber(`${at}.port`, port.port));
  errors.push(...requiredOneOf(`${at}.protocol`, port.protocol, protocols));
  errors.push(...portNumberOrName(`${at}.targetPort`, port.targetPort));
  if (port.appProtocol) errors.push(...syntax(`${at}.appProtocol`, port.appProtocol, qualifiedNameFaults));
  return errors;
}

/** A port as validation messages print it. */
function printedPort(port: ServicePort): Record<string, unknown> {
  return { Name: '', Protocol: port.protocol ?? '', AppProtocol: null, Port: port.port, TargetPort: 0, NodePort: 0 };
}

function validatePorts(service: Service): FieldError[] {
  const ports = service.spec.ports ?? [];
  const headless = service.spec.clusterIP === 'None';
  if (ports.length === 0 && !headless && service.spec.type !== 'ExternalName') return [requiredField('spec.ports')];
  const names = new Set<string>();
  const errors = ports.flatMap((port, i) => {
    const at = `spec.ports[${i}]`;
    const found = validatePort(at, port, ports.length > 1);
    if (port.name) {
      if (names.has(port.name)) found.push(duplicateField(`${at}.name`, port.name));
      names.add(port.name);
    }
    return found;
  });
  const numbers = new Set<string>();
  const nodePorts = new Set<string>();
  for (const [i, port] of ports.entries()) {
    const number = `${port.protocol}/${port.port}`;
    if (numbers.has(number)) errors.push(duplicateField(`spec.ports[${i}]`, printedPort(port)));
    numbers.add(number);
    if (!port.nodePort) continue;
    if (service.spec.type === 'ClusterIP' || service.spec.type === 'ExternalName') {
      errors.push(
        forbiddenField(`spec.ports[${i}].nodePort`, `may not be used when \`type\` is '${service.spec.type}'`),
      );
    }
    const nodePort = `${port.protocol}/${port.nodePort}`;
    if (nodePorts.has(nodePort)) errors.push(duplicateField(`spec.ports[${i}].nodePort`, port.nodePort));
    nodePorts.add(nodePort);
  }
  return errors;
}

function validateExternalName({ spec }: Service): FieldError[] {
  const errors: FieldError[] = [];
  if ((spec.clusterIPs ?? []).length > 0) {
    errors.push(forbiddenField('spec.clusterIPs', 'may not be set for ExternalName services'));
  }
  const name = (spec.externalName ?? '').replace(/\.$/, '');
  if (name === '') errors.push(requiredField('spec.externalName'));
  else errors.push(...syntax('spec.externalName', name, dns1123SubdomainFaults));
  return errors;
}

const familyNames = ['IPv4', 'IPv6'];
const familyPolicies = ['PreferDualStack', 'RequireDualStack', 'SingleStack'];

/** Families as such, and that addresses are of them. */
function validateFamilies({ ipFamilies = [], ipFamilyPolicy, clusterIPs = [] }: Service['spec']): FieldError[] {
  const errors = ipFamilies.flatMap((family, i) => {
    const field = `spec.ipFamilies[${i}]`;
    const found = oneOf(field, family, familyNames);
    return ipFamilies.indexOf(family) < i ? [...found, duplicateField(field, family)] : found;
  });
  errors.push(...oneOf('spec.ipFamilyPolicy', ipFamilyPolicy, familyPolicies));
  if (clusterIPs[0] === 'None') return errors;
  for (const [i, ip] of clusterIPs.entries()) {
    const [wanted, found] = [ipFamilies[i], isIP(ip) === 6 ? 'IPv6' : 'IPv4'];
    if (isIP(ip) === 0 || wanted === undefined || !familyNames.includes(wanted) || wanted === found) continue;
    const text = `expected an ${wanted} value as indicated by \`ipFamilies[${i}]\``;
    errors.push(invalidField(`spec.clusterIPs[${i}]`, ip, text));
  }
  return errors;
}

function validateClusterIPs({ spec }: Service): FieldError[] {
  const ips = spec.clusterIPs ?? [];
  if (spec.type === 'ExternalName') return [];
  const errors = validateFamilies(spec);
  const { clusterIP } = spec;
  if (clusterIP !== undefined && ips[0] !== undefined && clusterIP !== ips[0]) {
    errors.push(invalidField('spec.clusterIPs', ips, 'first value must match `clusterIP`'));
  }
  if (ips.length > 2) errors.push(tooManyField('spec.clusterIPs', ips.length, 2));
  for (const [i, ip] of ips.entries()) {
    if (ip === 'None') {
      if (ips.length > 1)
        errors.push(invalidField(`spec.clusterIPs[${i}]`, ip, "'None' must be the first and only value"));
    } else errors.push(...ipAddress(`spec.clusterIPs[${i}]`, ip));
  }
  if (spec.type !== 'ClusterIP' && ips[0] === 'None') {
    errors.push(invalidField('spec.clusterIPs[0]', 'None', `may not be set to 'None' for ${spec.type} services`));
  }
  const [first, second] = ips;
  if (first !== undefined && second !== undefined && isIP(first) !== 0 && isIP(first) === isIP(second)) {
    errors.push(invalidField('spec.clusterIPs', ips, 'may specify no more than one IP for each IP family'));
  }
  return errors;
}

function validateTraffic({ spec }: Service): FieldError[] {
  const outside =
    spec.type === 'NodePort' ||
    spec.type === 'LoadBalancer' ||
    (spec.type === 'ClusterIP' && (spec.externalIPs ?? []).length > 0);
  const errors = oneOf('spec.externalTrafficPolicy', spec.externalTrafficPolicy || undefined, ['Cluster', 'Local']);
  if (!outside && spec.externalTrafficPolicy) {
    const text = 'may only be set for externally-accessible services';
    errors.push(invalidField('spec.externalTrafficPolicy', spec.externalTrafficPolicy, text));
  }
  if (spec.healthCheckNodePort && !(spec.type === 'LoadBalancer' && spec.externalTrafficPolicy === 'Local')) {
    const text = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
    errors.push(invalidField('spec.healthCheckNodePort', spec.healthCheckNodePort, text));
  }
  errors.push(...oneOf('spec.internalTrafficPolicy', spec.internalTrafficPolicy, ['Cluster', 'Local']));
  if (spec.type !== 'LoadBalancer') {
    const text = "may only be used when `type` is 'LoadBalancer'";
    if (spec.allocateLoadBalancerNodePorts !== undefined)
      errors.push(forbiddenField('spec.allocateLoadBalancerNodePorts', text));
    if (spec.loadBalancerClass !== undefined) errors.push(forbiddenField('spec.loadBalancerClass', text));
    if ((spec.loadBalancerSourceRanges ?? []).length > 0) {
      errors.push(forbiddenField('spec.LoadBalancerSourceRanges', text));
    }
  }
  for (const [i, range] of (spec.loadBalancerSourceRanges ?? []).entries()) {
    errors.push(...cidr(`spec.loadBalancerSourceRanges[${i}]`, range.trim()));
  }
  errors.push(
    ...oneOf('spec.trafficDistribution', spec.trafficDistribution, ['PreferClose', 'PreferSameNode', 'PreferSameZone']),
  );
  return errors;
}

export function validateService(service: Service): FieldError[] {
  const { spec } = service;
  const errors = validatePorts(service);
  if (spec.type === 'ExternalName') errors.push(...validateExternalName(service));
  errors.push(
    ...labels('spec.selector', spec.selector),
    ...requiredOneOf('spec.sessionAffinity', spec.sessionAffinity, ['ClientIP', 'None']),
    ...requiredOneOf('spec.type', spec.type, serviceTypes),
    ...validateClusterIPs(service),
    ...(spec.externalIPs ?? []).flatMap((ip, i) => ipAddress(`spec.externalIPs[${i}]`, ip)),
    ...validateTraffic(service),
  );
  const timeout = spec.sessionAffinityConfig?.clientIP?.timeoutSeconds;
  if (spec.sessionAffinity === 'ClientIP' && timeout !== undefined && (timeout <= 0 || timeout > oneDaySeconds)) {
    const field = 'spec.sessionAffinityConfig.clientIP.timeoutSeconds';
    errors.push(invalidField(field, timeout, `must be greater than 0 and less than ${oneDaySeconds}`));
  }
  return errors;
}

/** The second family may come and go, but not change; the first one stays. */
function validateSecondary(now: Service['spec'], before: Service['spec']): FieldError[] {
  const errors: FieldError[] = [];
  const [address, had] = [now.clusterIPs?.[1], before.clusterIPs?.[1]];
  if (address !== undefined && had !== undefined && address !== had) {
    errors.push(invalidField('spec.clusterIPs[1]', now.clusterIPs, 'may not change once set'));
  }
  const [family, first] = [now.ipFamilies?.[0], before.ipFamilies?.[0]];
  if (family !== undefined && first !== undefined && family !== first) {
    errors.push(invalidField('spec.ipFamilies[0]', now.ipFamilies, 'may not change once set'));
  }
  return errors;
}

export function validateServiceUpdate(service: Service, previous: Service): FieldError[] {
  const errors: FieldError[] = [];
  const before = previous.spec.clusterIPs?.[0];
  const after = service.spec.clusterIPs?.[0];
  const keepsAddress = service.spec.type !== 'ExternalName' && previous.spec.type !== 'ExternalName';
  if (keepsAddress && before && before !== after) {
    const [reason, value] =
      after === undefined
        ? ['primary clusterIP can not be unset', service.spec.clusterIPs ?? []]
        : ['may not change once set', service.spec.clusterIPs];
    errors.push(invalidField('spec.clusterIPs[0]', value, reason));
  }
  if (keepsAddress && before !== 'None') errors.push(...validateSecondary(service.spec, previous.spec));
  if (service.spec.type === 'LoadBalancer' && previous.spec.type === 'LoadBalancer') {
    const { loadBalancerClass } = service.spec;
    if (loadBalancerClass !== previous.spec.loadBalancerClass) {
      errors.push(invalidField('spec.loadBalancerClass', loadBalancerClass ?? '', 'may not change once set'));
    }
  }
  return [...errors, ...validateService(service)];
}

export function validateEndpoints(endpoints: Endpoints): FieldError[] {
  return (endpoints.subsets ?? []).flatMap((subset, i) => {
    const at = `subsets[${i}]`;
    const { addresses = [], notReadyAddresses = [], ports = [] } = subset;
    const errors: FieldError[] = [];
    if (addresses.length + notReadyAddresses.length === 0) {
      errors.push(requiredField(at, 'must specify `addresses` or `notReadyAddresses`'));
    }
    for (const [a, { ip }] of addresses.entries()) errors.push(...ipAddress(`${at}.addresses[${a}].ip`, ip));
    for (const [a, { ip }] of notReadyAddresses.entries())
      errors.push(...ipAddress(`${at}.notReadyAddresses[${a}].ip`, ip));
    for (const [p, port] of ports.entries()) {
      if (ports.length > 1 && !port.name) errors.push(requiredField(`${at}.ports[${p}].name`));
      else if (port.name) errors.push(...syntax(`${at}.ports[${p}].name`, port.name, dns1123LabelFaults));
      errors.push(...portNumber(`${at}.ports[${p}].port`, port.port));
      errors.push(...requiredOneOf(`${at}.ports[${p}].protocol`, port.protocol, protocols));
    }
    return errors;
  });
}

export function validateEndpointSlice(slice: EndpointSlice): FieldError[] {
  const errors = requiredOneOf('addressType', slice.addressType, ['FQDN', 'IPv4', 'IPv6']);
  const endpoints = slice.endpoints ?? [];
  if (endpoints.length > maxEndpointsPerSlice) {
    errors.push(tooManyField('endpoints', endpoints.length, maxEndpointsPerSlice));
    return errors;
  }
  for (const [i, endpoint] of endpoints.entries()) {
    const at = `endpoints[${i}]`;
    if (endpoint.addresses.length === 0) {
      errors.push(requiredField(`${at}.addresses`, 'must contain at least 1 address'));
    } else if (endpoint.addresses.length > maxAddressesPerEndpoint) {
      errors.push(tooManyField(`${at}.addresses`, endpoint.addresses.length, maxAddressesPerEndpoint));
    }
    for (const [a, address] of endpoint.addresses.entries()) {
      const field = `${at}.addresses[${a}]`;
      if (slice.addressType === 'FQDN') errors.push(...syntax(field, address, dns1123SubdomainFaults));
      else if (slice.addressType === 'IPv4' && isIP(address) !== 4) {
        errors.push(invalidField(field, address, 'must be a valid IPv4 address'));
      } else if (slice.addressType === 'IPv6' && isIP(address) !== 6) {
        errors.push(invalidField(field, address, 'must be a valid IPv6 address'));
      }
    }
    if (endpoint.hostname) errors.push(...syntax(`${at}.hostname`, endpoint.hostname, dns1123LabelFaults));
  }
  const ports = slice.ports ?? [];
  if (ports.length > maxPortsPerSlice) errors.push(tooManyField('ports', ports.length, maxPortsPerSlice));
  const names = new Set<string>();
  for (const [i, port] of ports.entries()) {
    if (names.has(port.name ?? '')) errors.push(duplicateField('ports', port.name ?? ''));
    names.add(port.name ?? '');
    if (port.name) errors.push(...syntax(`ports[${i}].name`, port.name, dns1123LabelFaults));
    errors.push(...requiredOneOf(`ports[${i}].protocol`, port.protocol, protocols));
    errors.push(...within(`ports[${i}].port`, port.port, 1, 65535));
  }
  return errors;
}

export function validateEndpointSliceUpdate(slice: EndpointSlice, previous: EndpointSlice): FieldError[] {
  return [...validateEndpointSlice(slice), ...unchanged('addressType', slice.addressType, previous.addressType)];
}
