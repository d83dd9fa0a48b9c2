// The checks of the Pod Security Standards, in the reference's words. Pure.
// Source: Kubernetes documentation, Pod Security Standards, and k8s.io/pod-security-admission/policy.

import type { Container, PodSpec, SecurityContext, Volume } from '#kube/api/generated/core-v1.ts';
import { safeSysctls } from '#kube/api/safe-sysctls.ts';

export type Level = 'privileged' | 'baseline' | 'restricted';

/** What a pod violates: the reason, and where. */
export interface Violation {
  reason: string;
  detail: string;
}

type Check = (spec: PodSpec, annotations: Readonly<Record<string, string>>) => Violation | undefined;
type AnyContainer = Pick<Container, 'name' | 'ports'> & { securityContext?: SecurityContext | undefined };

const defaultCapabilities = new Set(
  'AUDIT_WRITE CHOWN DAC_OVERRIDE FOWNER FSETID KILL MKNOD NET_BIND_SERVICE SETFCAP SETGID SETPCAP SETUID SYS_CHROOT'.split(
    ' ',
  ),
);
const seLinuxTypes = new Set(['', 'container_t', 'container_init_t', 'container_kvm_t', 'container_engine_t']);
const restrictedVolumeTypes = new Set([
  'configMap',
  'csi',
  'downwardAPI',
  'emptyDir',
  'ephemeral',
  'persistentVolumeClaim',
  'projected',
  'secret',
]);
const safeSeccomp = new Set(['RuntimeDefault', 'Localhost']);

function containersOf(spec: PodSpec): AnyContainer[] {
  return [...(spec.initContainers ?? []), ...(spec.containers ?? []), ...(spec.ephemeralContainers ?? [])];
}

const quoted = (names: readonly string[]): string => names.map((name) => JSON.stringify(name)).join(', ');
const named = (kind: string, names: readonly string[]): string =>
  `${kind}${names.length === 1 ? '' : 's'} ${quoted(names)}`;

function violating(spec: PodSpec, isBad: (container: AnyContainer) => boolean): string[] {
  return containersOf(spec)
    .filter(isBad)
    .map(({ name }) => name);
}

function ofContainers(reason: string, names: readonly string[], must: string): Violation | undefined {
  return names.length === 0 ? undefined : { reason, detail: `${named('container', names)} ${must}` };
}

const hostNamespaces: Check = ({ hostNetwork, hostPID, hostIPC }) => {
  const used = [
    hostNetwork === true ? 'hostNetwork=true' : '',
    hostPID === true ? 'hostPID=true' : '',
    hostIPC === true ? 'hostIPC=true' : '',
  ].filter((text) => text !== '');
  return used.length === 0 ? undefined : { reason: 'host namespaces', detail: used.join(', ') };
};

const privileged: Check = (spec) =>
  ofContainers(
    'privileged',
    violating(spec, ({ securityContext }) => securityContext?.privileged === true),
    'must not set securityContext.privileged=true',
  );

const defaultCapabilitiesOnly: Check = (spec) => {
  const added = (container: AnyContainer) =>
    (container.securityContext?.capabilities?.add ?? []).filter((name) => !defaultCapabilities.has(name));
  const names = violating(spec, (container) => added(container).length > 0);
  const capabilities = [...new Set(containersOf(spec).flatMap(added))].sort();
  return ofContainers(
    'non-default capabilities',
    names,
    `must not include ${quoted(capabilities)} in securityContext.capabilities.add`,
  );
};

const restrictedCapabilities: Check = (spec) => {
  const keeps = violating(spec, ({ securityContext }) => securityContext?.capabilities?.drop?.includes('ALL') !== true);
  const added = (container: AnyContainer) =>
    (container.securityContext?.capabilities?.add ?? []).filter((name) => name !== 'NET_BIND_SERVICE');
  const adds = violating(spec, (container) => added(container).length > 0);
  const capabilities = [...new Set(containersOf(spec).flatMap(added))].sort();
  const details = [
    keeps.length === 0 ? '' : `${named('container', keeps)} must set securityContext.capabilities.drop=["ALL"]`,
    adds.length === 0
      ? ''
      : `${named('container', adds)} must not include ${quoted(capabilities)} in securityContext.capabilities.add`,
  ].filter((text) => text !== '');
  return details.length === 0 ? undefined : { reason: 'unrestricted capabilities', detail: details.join('; ') };
};

const hostPathVolumes: Check = ({ volumes = [] }) => {
  const names = volumes.filter(({ hostPath }) => hostPath !== undefined).map(({ name }) => name);
  return names.length === 0 ? undefined : { reason: 'hostPath volumes', detail: named('volume', names) };
};

const typeOfVolume = (volume: Volume): string => Object.keys(volume).find((key) => key !== 'name') ?? 'emptyDir';

const restrictedVolumes: Check = ({ volumes = [] }) => {
  const bad = volumes.filter((volume) => !restrictedVolumeTypes.has(typeOfVolume(volume)));
  if (bad.length === 0) return undefined;
  const types = [...new Set(bad.map(typeOfVolume))].sort();
  const uses = bad.length === 1 ? 'uses restricted volume type' : 'use restricted volume type';
  const names = named(
    'volume',
    bad.map(({ name }) => name),
  );
  return {
    reason: 'restricted volume types',
    detail: `${names} ${uses}${types.length === 1 ? '' : 's'} ${quoted(types)}`,
  };
};

const hostPorts: Check = (spec) => {
  const portsOf = ({ ports = [] }: AnyContainer) =>
    ports.map(({ hostPort = 0 }) => hostPort).filter((port) => port > 0);
  const names = violating(spec, (container) => portsOf(container).length > 0);
  const ports = [...new Set(containersOf(spec).flatMap(portsOf))].sort((a, b) => a - b);
  const uses = names.length === 1 ? 'uses' : 'use';
  return ofContainers('hostPort', names, `${uses} hostPort${ports.length === 1 ? '' : 's'} ${ports.join(', ')}`);
};

const procMount: Check = (spec) =>
  ofContainers(
    'procMount',
    violating(spec, ({ securityContext }) => (securityContext?.procMount ?? 'Default') !== 'Default'),
    'must not set securityContext.procMount to "Unmasked"',
  );

const seLinuxOptions: Check = (spec) => {
  const all = [
    spec.securityContext?.seLinuxOptions,
    ...containersOf(spec).map((each) => each.securityContext?.seLinuxOptions),
  ];
  const isBad = all.some(
    (each) =>
      each !== undefined &&
      (!seLinuxTypes.has(each.type ?? '') || (each.user ?? '') !== '' || (each.role ?? '') !== ''),
  );
  return isBad ? { reason: 'seLinuxOptions', detail: 'pod or containers set forbidden seLinuxOptions' } : undefined;
};

const appArmorProfile: Check = (spec, annotations) => {
  const inFields = [
    spec.securityContext?.appArmorProfile,
    ...containersOf(spec).map((each) => each.securityContext?.appArmorProfile),
  ];
  const isBad =
    inFields.some((profile) => profile?.type === 'Unconfined') ||
    Object.entries(annotations).some(
      ([key, value]) => key.startsWith('container.apparmor.security.beta.kubernetes.io/') && value === 'unconfined',
    );
  return isBad ? { reason: 'forbidden AppArmor profile', detail: 'unconfined' } : undefined;
};

const sysctls: Check = ({ securityContext }) => {
  const bad = (securityContext?.sysctls ?? []).map(({ name }) => name).filter((name) => !safeSysctls.has(name));
  return bad.length === 0 ? undefined : { reason: 'forbidden sysctls', detail: bad.join(', ') };
};

const seccompNotUnconfined: Check = (spec) => {
  const isUnconfined = (profile: { type: string } | undefined) => profile?.type === 'Unconfined';
  const names = violating(spec, ({ securityContext }) => isUnconfined(securityContext?.seccompProfile));
  const who = [
    isUnconfined(spec.securityContext?.seccompProfile) ? 'pod' : '',
    names.length === 0 ? '' : named('container', names),
  ].filter((text) => text !== '');
  if (who.length === 0) return undefined;
  return {
    reason: 'seccompProfile',
    detail: `${who.join(' and ')} must not set securityContext.seccompProfile.type to "Unconfined"`,
  };
};

const seccompSet: Check = (spec) => {
  const ofPod = spec.securityContext?.seccompProfile?.type;
  const names = violating(
    spec,
    ({ securityContext }) => !safeSeccomp.has(securityContext?.seccompProfile?.type ?? ofPod ?? ''),
  );
  if (names.length === 0) return undefined;
  const must = 'must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost"';
  return { reason: 'seccompProfile', detail: `pod or ${named('container', names)} ${must}` };
};

const allowPrivilegeEscalation: Check = (spec) =>
  ofContainers(
    'allowPrivilegeEscalation != false',
    violating(spec, ({ securityContext }) => securityContext?.allowPrivilegeEscalation !== false),
    'must set securityContext.allowPrivilegeEscalation=false',
  );

const runAsNonRoot: Check = (spec) => {
  const ofPod = spec.securityContext?.runAsNonRoot;
  const names = violating(spec, ({ securityContext }) => (securityContext?.runAsNonRoot ?? ofPod) !== true);
  if (names.length === 0) return undefined;
  return {
    reason: 'runAsNonRoot != true',
    detail: `pod or ${named('container', names)} must set securityContext.runAsNonRoot=true`,
  };
};

const runAsUser: Check = (spec) => {
  const names = violating(spec, ({ securityContext }) => securityContext?.runAsUser === 0);
  const who = [spec.securityContext?.runAsUser === 0 ? 'pod' : '', names.length === 0 ? '' : named('container', names)];
  const listed = who.filter((text) => text !== '');
  return listed.length === 0
    ? undefined
    : { reason: 'runAsUser=0', detail: `${listed.join(' and ')} must not set runAsUser=0` };
};

/** In the order of the reference's check identifiers. */
const checks: Record<Exclude<Level, 'privileged'>, readonly Check[]> = {
  baseline: [
    appArmorProfile,
    defaultCapabilitiesOnly,
    hostNamespaces,
    hostPathVolumes,
    hostPorts,
    privileged,
    procMount,
    seLinuxOptions,
    seccompNotUnconfined,
    sysctls,
  ],
  restricted: [
    allowPrivilegeEscalation,
    appArmorProfile,
    restrictedCapabilities,
    hostNamespaces,
    hostPorts,
    privileged,
    procMount,
    restrictedVolumes,
    runAsNonRoot,
    runAsUser,
    seLinuxOptions,
    seccompSet,
    sysctls,
  ],
};

/** What a pod violates of a level. */
export function podViolations(
  level: Level,
  spec: PodSpec,
  annotations: Readonly<Record<string, string>> = {},
): Violation[] {
  if (level === 'privileged') return [];
  return checks[level].flatMap((check) => check(spec, annotations) ?? []);
}
