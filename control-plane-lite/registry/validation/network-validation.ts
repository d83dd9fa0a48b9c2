// Rules of ingresses, their classes and network policies, with the texts of the reference.
// (Kubernetes: pkg/apis/networking/validation)
import { isIP } from 'node:net';
import type {
  Ingress,
  IngressBackend,
  IngressClass,
  IPBlock,
  NetworkPolicy,
  NetworkPolicyPeer,
  NetworkPolicyPort,
} from '#kube/api/generated/networking-v1.ts';
import { networkContains, parseNetwork } from '#kube/api/ip-address.ts';
import {
  dns1123LabelFaults,
  dns1123SubdomainFaults,
  pathSegmentFaults,
  wildcardSubdomainFaults,
} from '#kube/api/names.ts';
import { type FieldError, forbiddenField, invalidField, requiredField } from '#kube/errors/field-error.ts';
import {
  cidr,
  domainPrefixedPath,
  labelSelector,
  oneOf,
  portNumber,
  portNumberOrName,
  requiredSyntax,
  syntax,
  unchanged,
} from './field-checks.ts';

const protocols = ['SCTP', 'TCP', 'UDP'];
const pathTypes = ['Exact', 'ImplementationSpecific', 'Prefix'];
/** Of paths that are compared: they would mean another path, or none. */
const wrongSequences = ['//', '/./', '/../', '%2f', '%2F'];
const wrongEndings = ['/..', '/.'];

function host(field: string, name: string): FieldError[] {
  if (isIP(name) !== 0) return [invalidField(field, name, 'must be a DNS name, not an IP address')];
  return syntax(field, name, name.includes('*') ? wildcardSubdomainFaults : dns1123SubdomainFaults);
}

function backend(at: string, { service, resource }: IngressBackend): FieldError[] {
  if (service !== undefined && resource !== undefined) {
    return [invalidField(at, '', 'cannot set both resource and service backends')];
  }
  if (resource !== undefined) {
    return [
      ...(resource.apiGroup ? syntax(`${at}.resource.apiGroup`, resource.apiGroup, dns1123SubdomainFaults) : []),
      ...requiredSyntax(`${at}.resource.kind`, resource.kind, pathSegmentFaults),
      ...requiredSyntax(`${at}.resource.name`, resource.name, pathSegmentFaults),
    ];
  }
  if (service === undefined) return [invalidField(at, '', 'resource or service backend is required')];
  const errors = requiredSyntax(`${at}.service.name`, service.name, dns1123LabelFaults);
  const { name = '', number = 0 } = service.port ?? {};
  if (name !== '' && number !== 0) errors.push(invalidField(at, '', 'cannot set both port name & port number'));
  else if (name !== '') errors.push(...portNumberOrName(`${at}.service.port.name`, name));
  else if (number !== 0) errors.push(...portNumber(`${at}.service.port.number`, number));
  else errors.push(requiredField(at, 'port name or number is required'));
  return errors;
}

function ingressPath(at: string, path: string, type: string): FieldError[] {
  const errors: FieldError[] = [];
  const isCompared = type !== 'ImplementationSpecific';
  if ((isCompared || path !== '') && !path.startsWith('/')) {
    errors.push(invalidField(at, path, 'must be an absolute path'));
  }
  if (!isCompared) return errors;
  for (const part of wrongSequences) {
    if (path.includes(part)) errors.push(invalidField(at, path, `must not contain '${part}'`));
  }
  for (const part of wrongEndings) {
    if (path.endsWith(part)) errors.push(invalidField(at, path, `cannot end with '${part}'`));
  }
  return errors;
}

export function validateIngress({ spec }: Ingress): FieldError[] {
  const errors: FieldError[] = [];
  const rules = spec.rules ?? [];
  if (rules.length === 0 && spec.defaultBackend === undefined) {
    errors.push(invalidField('spec', [], 'either `defaultBackend` or `rules` must be specified'));
  }
  if (spec.defaultBackend !== undefined) errors.push(...backend('spec.defaultBackend', spec.defaultBackend));
  for (const [i, rule] of rules.entries()) {
    const at = `spec.rules[${i}]`;
    if (rule.host) errors.push(...host(`${at}.host`, rule.host));
    if (rule.http !== undefined && rule.http.paths.length === 0) errors.push(requiredField(`${at}.http.paths`));
    for (const [p, path] of (rule.http?.paths ?? []).entries()) {
      const place = `${at}.http.paths[${p}]`;
      if (!path.pathType) {
        errors.push(requiredField(`${place}.pathType`, 'pathType must be specified'));
        continue;
      }
      const unknown = oneOf(`${place}.pathType`, path.pathType, pathTypes);
      errors.push(...(unknown.length > 0 ? unknown : ingressPath(`${place}.path`, path.path ?? '', path.pathType)));
      errors.push(...backend(`${place}.backend`, path.backend));
    }
  }
  for (const [i, { hosts = [], secretName }] of (spec.tls ?? []).entries()) {
    for (const [h, name] of hosts.entries()) {
      const faults = name.includes('*') ? wildcardSubdomainFaults : dns1123SubdomainFaults;
      errors.push(...syntax(`spec.tls[${i}].hosts[${h}]`, name, faults));
    }
    if (secretName) errors.push(...syntax(`spec.tls[${i}].secretName`, secretName, dns1123SubdomainFaults));
  }
  if (spec.ingressClassName !== undefined) {
    errors.push(...syntax('spec.ingressClassName', spec.ingressClassName, dns1123SubdomainFaults));
  }
  return errors;
}

export function validateIngressClass({ spec }: IngressClass): FieldError[] {
  const errors = domainPrefixedPath('spec.controller', spec?.controller ?? '');
  const { parameters } = spec ?? {};
  if (parameters === undefined) return errors;
  const at = 'spec.parameters';
  const { apiGroup, kind, name, scope, namespace } = parameters;
  if (apiGroup) errors.push(...syntax(`${at}.apiGroup`, apiGroup, dns1123SubdomainFaults));
  errors.push(...requiredSyntax(`${at}.kind`, kind, pathSegmentFaults));
  errors.push(...requiredSyntax(`${at}.name`, name, pathSegmentFaults));
  if (!scope) return [...errors, requiredField(`${at}.scope`)];
  errors.push(...oneOf(`${at}.scope`, scope, ['Cluster', 'Namespace']));
  if (scope === 'Namespace' && namespace === undefined) {
    errors.push(requiredField(`${at}.namespace`, "`parameters.scope` is set to 'Namespace'"));
  } else if (scope === 'Namespace') errors.push(...syntax(`${at}.namespace`, namespace ?? '', dns1123LabelFaults));
  if (scope === 'Cluster' && namespace !== undefined) {
    errors.push(forbiddenField(`${at}.namespace`, "`parameters.scope` is set to 'Cluster'"));
  }
  return errors;
}

export function validateIngressClassUpdate(now: IngressClass, previous: IngressClass): FieldError[] {
  return [
    ...unchanged('spec.controller', now.spec?.controller, previous.spec?.controller),
    ...validateIngressClass(now),
  ];
}

function policyPort(at: string, { port, endPort, protocol }: NetworkPolicyPort): FieldError[] {
  const errors = oneOf(`${at}.protocol`, protocol, protocols);
  if (port !== undefined) errors.push(...portNumberOrName(`${at}.port`, port));
  if (endPort === undefined) return errors;
  const field = `${at}.endPort`;
  if (port === undefined)
    return [...errors, invalidField(field, endPort, 'may not be specified when `port` is not specified')];
  if (typeof port === 'string') {
    return [...errors, invalidField(field, endPort, 'may not be specified when `port` is non-numeric')];
  }
  if (endPort < port) errors.push(invalidField(field, endPort, 'must be greater than or equal to `port`'));
  return [...errors, ...portNumber(field, endPort)];
}

function ipBlock(at: string, { cidr: range, except = [] }: IPBlock): FieldError[] {
  if (range === '') return [requiredField(`${at}.cidr`)];
  const errors = cidr(`${at}.cidr`, range);
  const outer = parseNetwork(range);
  if (outer === undefined) return errors;
  for (const [e, part] of except.entries()) {
    const field = `${at}.except[${e}]`;
    errors.push(...cidr(field, part));
    const inner = parseNetwork(part);
    if (inner === undefined) continue;
    if (!networkContains(outer, inner) || inner.prefix === outer.prefix) {
      errors.push(invalidField(field, part, 'must be a strict subset of `cidr`'));
    }
  }
  return errors;
}

function policyPeer(at: string, { podSelector, namespaceSelector, ipBlock: block }: NetworkPolicyPeer): FieldError[] {
  const errors = [
    ...labelSelector(`${at}.podSelector`, podSelector),
    ...labelSelector(`${at}.namespaceSelector`, namespaceSelector),
    ...(block === undefined ? [] : ipBlock(`${at}.ipBlock`, block)),
  ];
  const given = [podSelector, namespaceSelector, block].filter((value) => value !== undefined).length;
  if (given === 0) errors.push(requiredField(at, 'must specify a peer'));
  if (given > 1 && block !== undefined)
    errors.push(forbiddenField(at, 'may not specify both ipBlock and another peer'));
  return errors;
}

export function validateNetworkPolicy({ spec }: NetworkPolicy): FieldError[] {
  const errors = labelSelector('spec.podSelector', spec?.podSelector);
  const { ingress = [], egress = [], policyTypes: types = [] } = spec ?? {};
  for (const [i, { ports = [], from = [] }] of ingress.entries()) {
    const at = `spec.ingress[${i}]`;
    errors.push(...ports.flatMap((port, p) => policyPort(`${at}.ports[${p}]`, port)));
    errors.push(...from.flatMap((peer, p) => policyPeer(`${at}.from[${p}]`, peer)));
  }
  for (const [i, { ports = [], to = [] }] of egress.entries()) {
    const at = `spec.egress[${i}]`;
    errors.push(...ports.flatMap((port, p) => policyPort(`${at}.ports[${p}]`, port)));
    errors.push(...to.flatMap((peer, p) => policyPeer(`${at}.to[${p}]`, peer)));
  }
  if (types.length > 2) {
    return [...errors, invalidField('spec.policyTypes', types, 'may not specify more than two policyTypes')];
  }
  return [...errors, ...types.flatMap((type, i) => oneOf(`spec.policyTypes[${i}]`, type, ['Ingress', 'Egress']))];
}
