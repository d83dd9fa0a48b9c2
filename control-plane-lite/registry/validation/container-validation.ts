// Rules of containers: names, images, ports, environment, mounts, resources, hooks.
import type {
  Container,
  ContainerPort,
  EnvVar,
  LifecycleHandler,
  Probe,
  ResourceRequirements,
  SecurityContext,
  VolumeMount,
} from '#kube/api/generated/core-v1.ts';
import {
  dns1123LabelFaults,
  dns1123SubdomainFaults,
  envVarNameFaults,
  portNameFaults,
  qualifiedNameFaults,
} from '#kube/api/names.ts';
import { compareQuantities, parseQuantity, QuantityError } from '#kube/api/quantity.ts';
import {
  duplicateField,
  type FieldError,
  forbiddenField,
  invalidField,
  notFoundField,
  requiredField,
} from '#kube/errors/field-error.ts';
import {
  nonNegative,
  oneOf,
  portNumber,
  portNumberOrName,
  positive,
  quantity,
  required,
  requiredOneOf,
  requiredSyntax,
  within,
} from './field-checks.ts';

const maxInt32 = 2 ** 31 - 1;
const handlerTypes = ['exec', 'httpGet', 'tcpSocket', 'grpc', 'sleep'] as const;

/** What the checks of a container need to know of its pod. */
export interface PodContext {
  volumeNames: ReadonlySet<string>;
  hostNetwork: boolean;
}

function validatePorts(field: string, ports: readonly ContainerPort[], context: PodContext): FieldError[] {
  const names = new Set<string>();
  return ports.flatMap((port, i) => {
    const at = `${field}[${i}]`;
    const errors: FieldError[] = [];
    if (port.name) {
      errors.push(...portNameFaults(port.name).map((fault) => invalidField(`${at}.name`, port.name, fault)));
      if (names.has(port.name)) errors.push(duplicateField(`${at}.name`, port.name));
      names.add(port.name);
    }
    if (!port.containerPort) errors.push(requiredField(`${at}.containerPort`));
    else errors.push(...portNumber(`${at}.containerPort`, port.containerPort));
    if (port.hostPort) errors.push(...portNumber(`${at}.hostPort`, port.hostPort));
    errors.push(...requiredOneOf(`${at}.protocol`, port.protocol, ['SCTP', 'TCP', 'UDP']));
    if (context.hostNetwork && port.hostPort !== port.containerPort) {
      errors.push(
        invalidField(`${at}.hostPort`, port.hostPort ?? 0, 'must match `containerPort` when `hostNetwork` is true'),
      );
    }
    return errors;
  });
}

const fieldPaths = [
  'metadata.name',
  'metadata.namespace',
  'metadata.uid',
  'spec.host',
  'spec.nodeName',
  'spec.serviceAccountName',
  'status.hostIP',
  'status.hostIPs',
  'status.podIP',
  'status.podIPs',
];
const subscripted = /^metadata\.(annotations|labels)\['.+'\]$/;

function validateValueFrom(field: string, variable: EnvVar): FieldError[] {
  const source = variable.valueFrom;
  if (source === undefined) return [];
  const kinds = Object.entries(source).filter(([, value]) => value !== undefined);
  if (kinds.length === 0) {
    return [
      invalidField(
        field,
        '',
        'must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`',
      ),
    ];
  }
  const errors: FieldError[] = [];
  if (variable.value) errors.push(invalidField(field, '', 'may not be specified when `value` is not empty'));
  if (kinds.length > 1) errors.push(invalidField(field, '', 'may not have more than one field specified at a time'));
  if (source.fieldRef !== undefined) {
    const path = source.fieldRef.fieldPath;
    const at = `${field}.fieldRef.fieldPath`;
    if (path === '') errors.push(requiredField(at));
    else if (!fieldPaths.includes(path) && !subscripted.test(path)) {
      errors.push(invalidField(at, path, `error converting fieldPath: field label not supported: ${path}`));
    }
  }
  if (source.resourceFieldRef !== undefined) {
    errors.push(...required(`${field}.resourceFieldRef.resource`, source.resourceFieldRef.resource));
  }
  for (const kind of ['configMapKeyRef', 'secretKeyRef'] as const) {
    const reference = source[kind];
    if (reference === undefined) continue;
    errors.push(
      ...required(`${field}.${kind}.name`, reference.name),
      ...required(`${field}.${kind}.key`, reference.key),
    );
  }
  return errors;
}

function validateEnvironment(field: string, container: Container): FieldError[] {
  const variables = (container.env ?? []).flatMap((variable, i) => {
    const at = `${field}.env[${i}]`;
    return [
      ...requiredSyntax(`${at}.name`, variable.name, envVarNameFaults),
      ...validateValueFrom(`${at}.valueFrom`, variable),
    ];
  });
  const sources = (container.envFrom ?? []).flatMap((source, i) => {
    const at = `${field}.envFrom[${i}]`;
    const errors = source.prefix
      ? envVarNameFaults(source.prefix).map((f) => invalidField(`${at}.prefix`, source.prefix, f))
      : [];
    if (source.configMapRef === undefined && source.secretRef === undefined) {
      errors.push(invalidField(at, '', 'must specify one of: `configMapRef` or `secretRef`'));
    } else if (source.configMapRef !== undefined && source.secretRef !== undefined) {
      errors.push(invalidField(at, '', 'may not have more than one field specified at a time'));
    }
    if (source.configMapRef !== undefined) {
      errors.push(...requiredSyntax(`${at}.configMapRef.name`, source.configMapRef.name, dns1123SubdomainFaults));
    }
    if (source.secretRef !== undefined) {
      errors.push(...requiredSyntax(`${at}.secretRef.name`, source.secretRef.name, dns1123SubdomainFaults));
    }
    return errors;
  });
  return [...variables, ...sources];
}

/** A path inside a volume: relative and without a step back. */
export function validateLocalPath(field: string, path: string): FieldError[] {
  if (path.startsWith('/')) return [invalidField(field, path, 'must be a relative path')];
  return path.split('/').includes('..') ? [invalidField(field, path, "must not contain '..'")] : [];
}

function validateMounts(field: string, mounts: readonly VolumeMount[], context: PodContext): FieldError[] {
  const paths = new Set<string>();
  return mounts.flatMap((mount, i) => {
    const at = `${field}[${i}]`;
    const errors: FieldError[] = [];
    if (mount.name === '') errors.push(requiredField(`${at}.name`));
    else if (!context.volumeNames.has(mount.name)) errors.push(notFoundField(`${at}.name`, mount.name));
    if (mount.mountPath === '') errors.push(requiredField(`${at}.mountPath`));
    if (paths.has(mount.mountPath)) errors.push(invalidField(`${at}.mountPath`, mount.mountPath, 'must be unique'));
    paths.add(mount.mountPath);
    if (mount.subPath) errors.push(...validateLocalPath(`${at}.subPath`, mount.subPath));
    if (mount.subPathExpr) {
      if (mount.subPath) {
        errors.push(
          invalidField(`${at}.subPathExpr`, mount.subPathExpr, 'subPathExpr and subPath are mutually exclusive'),
        );
      }
      errors.push(...validateLocalPath(`${at}.subPathExpr`, mount.subPathExpr));
    }
    const modes = ['Bidirectional', 'HostToContainer', 'None'];
    errors.push(...oneOf(`${at}.mountPropagation`, mount.mountPropagation, modes));
    return errors;
  });
}

function validateHandler(field: string, handler: LifecycleHandler & Pick<Probe, 'grpc'>): FieldError[] {
  const given = handlerTypes.filter((type) => handler[type] !== undefined);
  const errors: FieldError[] = given
    .slice(1)
    .map((type) => forbiddenField(`${field}.${type}`, 'may not specify more than 1 handler type'));
  if (given.length === 0) errors.push(requiredField(field, 'must specify a handler type'));
  if (handler.exec !== undefined && (handler.exec.command ?? []).length === 0) {
    errors.push(requiredField(`${field}.exec.command`));
  }
  if (handler.httpGet !== undefined) {
    errors.push(...required(`${field}.httpGet.path`, handler.httpGet.path));
    errors.push(...portNumberOrName(`${field}.httpGet.port`, handler.httpGet.port));
    errors.push(...oneOf(`${field}.httpGet.scheme`, handler.httpGet.scheme, ['HTTP', 'HTTPS']));
    for (const [i, header] of (handler.httpGet.httpHeaders ?? []).entries()) {
      if (/^[-A-Za-z0-9]+$/.test(header.name)) continue;
      const text =
        "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')";
      errors.push(invalidField(`${field}.httpGet.httpHeaders[${i}].name`, header.name, text));
    }
  }
  if (handler.tcpSocket !== undefined) {
    errors.push(...portNumberOrName(`${field}.tcpSocket.port`, handler.tcpSocket.port));
  }
  if (handler.grpc !== undefined) errors.push(...portNumber(`${field}.grpc.port`, handler.grpc.port));
  return errors;
}

/** Rules of one probe; only readiness may ask for more than one success. */
function validateProbe(
  field: string,
  probe: Probe | undefined,
  kind: 'liveness' | 'readiness' | 'startup',
): FieldError[] {
  if (probe === undefined) return [];
  const errors = validateHandler(field, probe);
  for (const key of [
    'initialDelaySeconds',
    'timeoutSeconds',
    'periodSeconds',
    'successThreshold',
    'failureThreshold',
  ] as const) {
    errors.push(...nonNegative(`${field}.${key}`, probe[key]));
  }
  if (kind === 'readiness') {
    if (probe.terminationGracePeriodSeconds !== undefined) {
      const text = 'must not be set for readinessProbes';
      errors.push(invalidField(`${field}.terminationGracePeriodSeconds`, probe.terminationGracePeriodSeconds, text));
    }
  } else {
    errors.push(...positive(`${field}.terminationGracePeriodSeconds`, probe.terminationGracePeriodSeconds));
    if (probe.successThreshold !== 1)
      errors.push(invalidField(`${field}.successThreshold`, probe.successThreshold ?? 0, 'must be 1'));
  }
  return errors;
}

const nativeResource = /^(cpu|memory|ephemeral-storage|hugepages-.+)$/;

function compare(a: string, b: string): number | undefined {
  try {
    return compareQuantities(parseQuantity(a), parseQuantity(b));
  } catch (error) {
    if (error instanceof QuantityError) return undefined;
    throw error;
  }
}

/** Amounts are not negative, requests stay within limits, extended resources are not overcommitted. */
export function validateResources(field: string, resources: ResourceRequirements | undefined): FieldError[] {
  const { limits = {}, requests = {} } = resources ?? {};
  const errors: FieldError[] = [];
  for (const [section, map] of [
    ['limits', limits],
    ['requests', requests],
  ] as const) {
    for (const [name, value] of Object.entries(map)) {
      const at = `${field}.${section}[${name}]`;
      const known = nativeResource.test(name) || name === 'storage';
      if (!known && !name.includes('/')) {
        errors.push(invalidField(at, name, 'must be a standard resource type or fully qualified'));
        errors.push(invalidField(at, name, 'must be a standard resource for containers'));
      } else if (!known) {
        errors.push(...qualifiedNameFaults(name).map((fault) => invalidField(at, name, fault)));
      }
      errors.push(...quantity(at, value));
    }
  }
  for (const [name, value] of Object.entries(requests)) {
    const limit = limits[name];
    const exact = !/^(cpu|memory|ephemeral-storage)$/.test(name);
    if (limit === undefined) {
      if (exact) errors.push(requiredField(`${field}.limits`, 'Limit must be set for non overcommitable resources'));
      continue;
    }
    const order = compare(value, limit);
    if (order === undefined) continue;
    if (exact ? order !== 0 : order > 0) {
      const text = exact
        ? `must be equal to ${name} limit of ${limit}`
        : `must be less than or equal to ${name} limit of ${limit}`;
      errors.push(invalidField(`${field}.requests`, value, text));
    }
  }
  return errors;
}

function validateSecurityContext(field: string, context: SecurityContext | undefined): FieldError[] {
  if (context === undefined) return [];
  const errors = [
    ...within(`${field}.runAsUser`, context.runAsUser, 0, maxInt32),
    ...within(`${field}.runAsGroup`, context.runAsGroup, 0, maxInt32),
    ...oneOf(`${field}.procMount`, context.procMount, ['Default', 'Unmasked']),
  ];
  if (context.allowPrivilegeEscalation === false) {
    if (context.privileged === true) {
      errors.push(
        invalidField(field, context, 'cannot set `allowPrivilegeEscalation` to false and `privileged` to true'),
      );
    }
    if (context.capabilities?.add?.includes('CAP_SYS_ADMIN')) {
      errors.push(
        invalidField(
          field,
          context,
          'cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN',
        ),
      );
    }
  }
  return errors;
}

/** Rules common to ordinary, init and ephemeral containers. Names are checked for syntax here, for uniqueness by the pod. */
export function validateContainer(field: string, container: Container, context: PodContext): FieldError[] {
  const errors = requiredSyntax(`${field}.name`, container.name, dns1123LabelFaults);
  if (!container.image) errors.push(requiredField(`${field}.image`));
  else if (container.image.trim() !== container.image) {
    errors.push(invalidField(`${field}.image`, container.image, 'must not have leading or trailing whitespace'));
  }
  errors.push(
    ...requiredOneOf(`${field}.terminationMessagePolicy`, container.terminationMessagePolicy, [
      'File',
      'FallbackToLogsOnError',
    ]),
    ...validatePorts(`${field}.ports`, container.ports ?? [], context),
    ...validateEnvironment(field, container),
    ...validateMounts(`${field}.volumeMounts`, container.volumeMounts ?? [], context),
    ...requiredOneOf(`${field}.imagePullPolicy`, container.imagePullPolicy, ['Always', 'IfNotPresent', 'Never']),
    ...validateResources(`${field}.resources`, container.resources),
    ...validateSecurityContext(`${field}.securityContext`, container.securityContext),
  );
  return errors;
}

/** Hooks and probes: for ordinary containers and sidecars. */
export function validateLifecycleAndProbes(field: string, container: Container): FieldError[] {
  const { lifecycle } = container;
  return [
    ...(lifecycle?.postStart === undefined ? [] : validateHandler(`${field}.lifecycle.postStart`, lifecycle.postStart)),
    ...(lifecycle?.preStop === undefined ? [] : validateHandler(`${field}.lifecycle.preStop`, lifecycle.preStop)),
    ...validateProbe(`${field}.livenessProbe`, container.livenessProbe, 'liveness'),
    ...validateProbe(`${field}.readinessProbe`, container.readinessProbe, 'readiness'),
    ...validateProbe(`${field}.startupProbe`, container.startupProbe, 'startup'),
  ];
}
