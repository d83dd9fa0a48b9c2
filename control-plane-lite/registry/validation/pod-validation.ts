// Rules of pods and pod templates beyond the schema.
import type {
  Affinity,
  Container,
  PodSpec,
  Toleration,
  TopologySpreadConstraint,
} from '#kube/api/generated/core-v1.ts';
import { dns1123LabelFaults, dns1123SubdomainFaults, labelValueFaults, qualifiedNameFaults } from '#kube/api/names.ts';
import {
  duplicateField,
  type FieldError,
  forbiddenField,
  invalidField,
  requiredField,
  tooManyField,
  unsupportedField,
} from '#kube/errors/field-error.ts';
import { validateContainerLife, validateHostnameOverride } from './container-life-validation.ts';
import {
  type PodContext,
  validateContainer,
  validateLifecycleAndProbes,
  validateResources,
} from './container-validation.ts';
import {
  ipAddress,
  labelSelector,
  labels,
  oneOf,
  positive,
  required,
  requiredOneOf,
  syntax,
  within,
} from './field-checks.ts';
import { validateVolumes } from './volume-validation.ts';

const maxInt32 = 2 ** 31 - 1;

function validateContainerList(
  field: string,
  containers: readonly Container[],
  names: Set<string>,
  context: PodContext,
): FieldError[] {
  return containers.flatMap((container, i) => {
    const at = `${field}[${i}]`;
    const errors = validateContainer(at, container, context);
    if (container.name !== '') {
      if (names.has(container.name)) errors.push(duplicateField(`${at}.name`, container.name));
      names.add(container.name);
    }
    return errors;
  });
}

function validateInitContainer(at: string, container: Container): FieldError[] {
  if (container.restartPolicy === 'Always') return validateLifecycleAndProbes(at, container);
  const text = 'may not be set for init containers without restartPolicy=Always';
  return (['lifecycle', 'livenessProbe', 'readinessProbe', 'startupProbe'] as const)
    .filter((key) => container[key] !== undefined)
    .map((key) => forbiddenField(`${at}.${key}`, text));
}

function validateContainers(spec: PodSpec, field: string, context: PodContext): FieldError[] {
  const names = new Set<string>();
  const errors: FieldError[] = [];
  const containers = spec.containers ?? [];
  if (containers.length === 0) errors.push(requiredField(`${field}.containers`));
  errors.push(...validateContainerList(`${field}.containers`, containers, names, context));
  for (const [i, container] of containers.entries()) {
    const at = `${field}.containers[${i}]`;
    errors.push(...validateLifecycleAndProbes(at, container), ...validateContainerLife(at, container, spec));
  }
  errors.push(...validateContainerList(`${field}.initContainers`, spec.initContainers ?? [], names, context));
  for (const [i, container] of (spec.initContainers ?? []).entries()) {
    const at = `${field}.initContainers[${i}]`;
    errors.push(...validateInitContainer(at, container), ...validateContainerLife(at, container, spec));
  }
  return errors;
}

/** Rules of tolerations, in pods and runtime classes. */
export function validateTolerations(field: string, tolerations: readonly Toleration[]): FieldError[] {
  return tolerations.flatMap((toleration, i) => {
    const at = `${field}[${i}]`;
    const { key = '', operator, value = '', effect } = toleration;
    const errors: FieldError[] = key === '' ? [] : syntax(`${at}.key`, key, qualifiedNameFaults);
    if (key === '' && operator !== 'Exists') {
      const text = 'operator must be Exists when `key` is empty, which means "match all values and all keys"';
      errors.push(invalidField(`${at}.operator`, operator ?? '', text));
    }
    if (toleration.tolerationSeconds !== undefined && effect !== 'NoExecute') {
      errors.push(
        invalidField(`${at}.effect`, effect ?? '', "effect must be 'NoExecute' when `tolerationSeconds` is set"),
      );
    }
    switch (operator ?? 'Equal') {
      case 'Equal':
      case '':
        errors.push(...labelValueFaults(value).map((fault) => invalidField(`${at}.operator`, value, fault)));
        break;
      case 'Exists':
        if (value !== '') {
          errors.push(invalidField(`${at}.operator`, value, "value must be empty when `operator` is 'Exists'"));
        }
        break;
      default:
        errors.push(unsupportedField(`${at}.operator`, operator, ['Equal', 'Exists']));
    }
    if (effect) errors.push(...oneOf(`${at}.effect`, effect, ['NoSchedule', 'PreferNoSchedule', 'NoExecute']));
    return errors;
  });
}

function validateNodeAffinity(field: string, affinity: NonNullable<Affinity['nodeAffinity']>): FieldError[] {
  const errors: FieldError[] = [];
  const needed = affinity.requiredDuringSchedulingIgnoredDuringExecution;
  const at = `${field}.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms`;
  if (needed !== undefined && needed.nodeSelectorTerms.length === 0) {
    errors.push(requiredField(at, 'must have at least one node selector term'));
  }
  for (const [i, term] of (needed?.nodeSelectorTerms ?? []).entries()) {
    for (const [j, requirement] of (term.matchExpressions ?? []).entries()) {
      const place = `${at}[${i}].matchExpressions[${j}]`;
      const { operator, values = [] } = requirement;
      if (!['In', 'NotIn', 'Exists', 'DoesNotExist', 'Gt', 'Lt'].includes(operator)) {
        errors.push(invalidField(`${place}.operator`, operator, 'not a valid selector operator'));
      } else if ((operator === 'In' || operator === 'NotIn') && values.length === 0) {
        errors.push(requiredField(`${place}.values`, "must be specified when `operator` is 'In' or 'NotIn'"));
      } else if ((operator === 'Exists' || operator === 'DoesNotExist') && values.length > 0) {
        errors.push(
          forbiddenField(`${place}.values`, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"),
        );
      } else if ((operator === 'Gt' || operator === 'Lt') && values.length !== 1) {
        errors.push(requiredField(`${place}.values`, "must be specified single value when `operator` is 'Lt' or 'Gt'"));
      }
      errors.push(...syntax(`${place}.key`, requirement.key, qualifiedNameFaults));
    }
  }
  for (const [i, preferred] of (affinity.preferredDuringSchedulingIgnoredDuringExecution ?? []).entries()) {
    const place = `${field}.preferredDuringSchedulingIgnoredDuringExecution[${i}].weight`;
    if (preferred.weight < 1 || preferred.weight > 100) {
      errors.push(invalidField(place, preferred.weight, 'must be in the range 1-100'));
    }
  }
  return errors;
}

function validatePodAffinity(field: string, affinity: NonNullable<Affinity['podAffinity']>): FieldError[] {
  const term = (at: string, value: { topologyKey: string; labelSelector?: Parameters<typeof labelSelector>[1] }) => [
    ...labelSelector(`${at}.labelSelector`, value.labelSelector),
    ...(value.topologyKey === ''
      ? [requiredField(`${at}.topologyKey`, 'can not be empty')]
      : syntax(`${at}.topologyKey`, value.topologyKey, qualifiedNameFaults)),
  ];
  const needed = affinity.requiredDuringSchedulingIgnoredDuringExecution ?? [];
  const preferred = affinity.preferredDuringSchedulingIgnoredDuringExecution ?? [];
  return [
    ...needed.flatMap((value, i) => term(`${field}.requiredDuringSchedulingIgnoredDuringExecution[${i}]`, value)),
    ...preferred.flatMap((value, i) => {
      const at = `${field}.preferredDuringSchedulingIgnoredDuringExecution[${i}]`;
      const range = value.weight < 1 || value.weight > 100;
      return [
        ...(range ? [invalidField(`${at}.weight`, value.weight, 'must be in the range 1-100')] : []),
        ...term(`${at}.podAffinityTerm`, value.podAffinityTerm),
      ];
    }),
  ];
}

function validateAffinity(field: string, affinity: Affinity | undefined): FieldError[] {
  const { nodeAffinity, podAffinity, podAntiAffinity } = affinity ?? {};
  return [
    ...(nodeAffinity === undefined ? [] : validateNodeAffinity(`${field}.nodeAffinity`, nodeAffinity)),
    ...(podAffinity === undefined ? [] : validatePodAffinity(`${field}.podAffinity`, podAffinity)),
    ...(podAntiAffinity === undefined ? [] : validatePodAffinity(`${field}.podAntiAffinity`, podAntiAffinity)),
  ];
}

function validateSpread(field: string, constraints: readonly TopologySpreadConstraint[]): FieldError[] {
  return constraints.flatMap((constraint, i) => {
    const at = `${field}[${i}]`;
    return [
      ...positive(`${at}.maxSkew`, constraint.maxSkew),
      ...required(`${at}.topologyKey`, constraint.topologyKey, 'can not be empty'),
      ...oneOf(`${at}.whenUnsatisfiable`, constraint.whenUnsatisfiable, ['DoNotSchedule', 'ScheduleAnyway']),
      ...positive(`${at}.minDomains`, constraint.minDomains),
      ...labelSelector(`${at}.labelSelector`, constraint.labelSelector),
    ];
  });
}

function validateDns(spec: PodSpec, field: string): FieldError[] {
  const errors = requiredOneOf(`${field}.dnsPolicy`, spec.dnsPolicy, [
    'ClusterFirstWithHostNet',
    'ClusterFirst',
    'Default',
    'None',
  ]);
  const { nameservers = [], searches = [], options = [] } = spec.dnsConfig ?? {};
  if (spec.dnsPolicy === 'None') {
    if (spec.dnsConfig === undefined) {
      errors.push(requiredField(`${field}.dnsConfig`, 'must provide `dnsConfig` when `dnsPolicy` is None'));
    } else if (nameservers.length === 0) {
      errors.push(
        requiredField(
          `${field}.dnsConfig.nameservers`,
          'must provide at least one DNS nameserver when `dnsPolicy` is None',
        ),
      );
    }
  }
  if (nameservers.length > 3) {
    errors.push(invalidField(`${field}.dnsConfig.nameservers`, nameservers, 'must not have more than 3 nameservers'));
  }
  errors.push(...nameservers.flatMap((server, i) => ipAddress(`${field}.dnsConfig.nameservers[${i}]`, server)));
  if (searches.length > 32) {
    errors.push(invalidField(`${field}.dnsConfig.searches`, searches, 'must not have more than 32 search paths'));
  }
  for (const [i, option] of options.entries()) {
    if (!option.name) errors.push(requiredField(`${field}.dnsConfig.options[${i}]`, 'must not be empty'));
  }
  return errors;
}

function validateHostNamespaces(spec: PodSpec, field: string): FieldError[] {
  const { shareProcessNamespace, hostPID, securityContext } = spec;
  const errors: FieldError[] = [];
  if (shareProcessNamespace === true && hostPID === true) {
    const text = 'ShareProcessNamespace and HostPID cannot both be enabled';
    errors.push(invalidField(`${field}.securityContext.shareProcessNamespace`, true, text));
  }
  const at = `${field}.securityContext`;
  errors.push(
    ...within(`${at}.runAsUser`, securityContext?.runAsUser, 0, maxInt32),
    ...within(`${at}.runAsGroup`, securityContext?.runAsGroup, 0, maxInt32),
    ...within(`${at}.fsGroup`, securityContext?.fsGroup, 0, maxInt32),
    ...oneOf(`${at}.fsGroupChangePolicy`, securityContext?.fsGroupChangePolicy, ['OnRootMismatch', 'Always']),
    ...(securityContext?.supplementalGroups ?? []).flatMap((group, i) =>
      within(`${at}.supplementalGroups[${i}]`, group, 0, maxInt32),
    ),
  );
  errors.push(
    ...oneOf(`${at}.supplementalGroupsPolicy`, securityContext?.supplementalGroupsPolicy, ['Merge', 'Strict']),
  );
  const seen = new Set<string>();
  for (const [i, { name }] of (securityContext?.sysctls ?? []).entries()) {
    if (name === '') errors.push(requiredField(`${at}.sysctls[${i}].name`));
    else if (!/^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$/.test(name)) {
      const text =
        'must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$';
      errors.push(invalidField(`${at}.sysctls[${i}].name`, name, text));
    } else if (seen.has(name)) errors.push(duplicateField(`${at}.sysctls[${i}].name`, name));
    seen.add(name);
  }
  return errors;
}

/** Rules that pods and templates share. `field` is where the spec is, for example `spec.template.spec`. */
export function validatePodSpec(field: string, spec: PodSpec): FieldError[] {
  const { errors, names } = validateVolumes(`${field}.volumes`, spec.volumes ?? []);
  const context: PodContext = { volumeNames: names, hostNetwork: spec.hostNetwork === true };
  errors.push(
    ...validateContainers(spec, field, context),
    ...requiredOneOf(`${field}.restartPolicy`, spec.restartPolicy, ['Always', 'OnFailure', 'Never']),
    ...validateDns(spec, field),
    ...labels(`${field}.nodeSelector`, spec.nodeSelector),
    ...validateHostNamespaces(spec, field),
    ...validateAffinity(`${field}.affinity`, spec.affinity),
  );
  for (const [key, faults] of [
    ['serviceAccountName', dns1123SubdomainFaults],
    ['nodeName', dns1123SubdomainFaults],
    ['hostname', dns1123LabelFaults],
    ['subdomain', dns1123LabelFaults],
    ['priorityClassName', dns1123SubdomainFaults],
    ['runtimeClassName', dns1123SubdomainFaults],
    ['schedulerName', qualifiedNameFaults],
  ] as const) {
    const value = spec[key];
    if (value !== undefined && value !== '') errors.push(...syntax(`${field}.${key}`, value, faults));
  }
  if (spec.hostnameOverride !== undefined) {
    errors.push(...syntax(`${field}.hostnameOverride`, spec.hostnameOverride, dns1123SubdomainFaults));
  }
  errors.push(...validateHostnameOverride(`${field}.hostnameOverride`, spec));
  errors.push(...within(`${field}.activeDeadlineSeconds`, spec.activeDeadlineSeconds, 1, maxInt32));
  errors.push(...validateTolerations(`${field}.tolerations`, spec.tolerations ?? []));
  for (const [i, alias] of (spec.hostAliases ?? []).entries()) {
    errors.push(...ipAddress(`${field}.hostAliases[${i}].ip`, alias.ip));
    for (const name of alias.hostnames ?? []) {
      errors.push(...syntax(`${field}.hostAliases[${i}].hostnames`, name, dns1123SubdomainFaults));
    }
  }
  errors.push(...validateSpread(`${field}.topologySpreadConstraints`, spec.topologySpreadConstraints ?? []));
  for (const [i, gate] of (spec.readinessGates ?? []).entries()) {
    errors.push(...syntax(`${field}.readinessGates[${i}].conditionType`, gate.conditionType, qualifiedNameFaults));
  }
  for (const [i, gate] of (spec.schedulingGates ?? []).entries()) {
    errors.push(...syntax(`${field}.schedulingGates[${i}].name`, gate.name, qualifiedNameFaults));
  }
  if (spec.overhead !== undefined) errors.push(...validateResources(`${field}.overhead`, { limits: spec.overhead }));
  errors.push(...oneOf(`${field}.preemptionPolicy`, spec.preemptionPolicy, ['Never', 'PreemptLowerPriority']));
  errors.push(...oneOf(`${field}.os.name`, spec.os?.name, ['linux', 'windows']));
  if ((spec.resourceClaims ?? []).length > 256) {
    errors.push(tooManyField(`${field}.resourceClaims`, spec.resourceClaims?.length ?? 0, 256));
  }
  return errors;
}

/** Rules of a pod at creation. */
export function validatePodCreate(spec: PodSpec): FieldError[] {
  const errors = validatePodSpec('spec', spec);
  if ((spec.ephemeralContainers ?? []).length > 0) {
    errors.push(forbiddenField('spec.ephemeralContainers', 'cannot be set on create'));
  }
  if (spec.nodeName && (spec.schedulingGates ?? []).length > 0) {
    errors.push(forbiddenField('spec.nodeName', 'cannot be set until all schedulingGates have been cleared'));
  }
  return errors;
}
