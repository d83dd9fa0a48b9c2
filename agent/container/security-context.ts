// Security contexts of pod and container as the runtime takes them (pkg/kubelet/kuberuntime/security_context.go).
import type {
  AppArmorProfile,
  Container,
  Pod,
  SELinuxOptions,
  SeccompProfile,
  SecurityContext,
} from '#kube/api/generated/core-v1.ts';
import type { LinuxContainerSecurityContext } from '#proto/generated/cri/runtime/v1/LinuxContainerSecurityContext.ts';
import type { LinuxSandboxSecurityContext } from '#proto/generated/cri/runtime/v1/LinuxSandboxSecurityContext.ts';
import type { NamespaceOption } from '#proto/generated/cri/runtime/v1/NamespaceOption.ts';
import type { SELinuxOption } from '#proto/generated/cri/runtime/v1/SELinuxOption.ts';
import type { SecurityProfile } from '#proto/generated/cri/runtime/v1/SecurityProfile.ts';
import type { UserNamespace } from '#proto/generated/cri/runtime/v1/UserNamespace.ts';
import { ContainerConfigError } from './environment.ts';
import { containersOf, usesHostNetwork } from './pod-containers.ts';

const maskedPaths = [
  '/proc/asound',
  '/proc/acpi',
  '/proc/interrupts',
  '/proc/kcore',
  '/proc/keys',
  '/proc/latency_stats',
  '/proc/timer_list',
  '/proc/timer_stats',
  '/proc/sched_debug',
  '/proc/scsi',
  '/sys/firmware',
  '/sys/devices/virtual/powercap',
];
const readonlyPaths = ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'];

/** The user an image runs as where the pod does not say. */
export interface ImageUser {
  uid: number | undefined;
  username: string;
}

/** Settings of the node. */
export interface SecuritySettings {
  /** Absolute directory of localhost seccomp profiles. */
  seccompProfileRoot: string;
  /** Use the runtime's profile where the pod names none. */
  seccompDefault: boolean;
}

/** A container that must not be started with the identity it would get. */
export class RunAsNonRootError extends Error {
  readonly code = 'RUN_AS_NON_ROOT';

  constructor(message: string) {
    super(message);
    this.name = 'RunAsNonRootError';
  }
}

/** Namespaces shared with the pod or the node. `targetId` is the container an ephemeral one debugs. */
export function namespaceOptions(pod: Pod, targetId?: string, users?: UserNamespace): NamespaceOption {
  const pid = pod.spec.hostPID ? 'NODE' : pod.spec.shareProcessNamespace ? 'POD' : targetId ? 'TARGET' : 'CONTAINER';
  return {
    network: usesHostNetwork(pod) ? 'NODE' : 'POD',
    pid,
    ipc: pod.spec.hostIPC ? 'NODE' : 'POD',
    ...(pid === 'TARGET' && targetId !== undefined ? { targetId } : {}),
    usernsOptions: users ?? { mode: 'NODE' },
  };
}

function effective(pod: Pod, container: Container): SecurityContext {
  const { runAsUser, runAsGroup, runAsNonRoot, seLinuxOptions, seccompProfile } = pod.spec.securityContext ?? {};
  const own = Object.fromEntries(
    Object.entries(container.securityContext ?? {}).filter(([, value]) => value !== undefined && value !== null),
  );
  return { runAsUser, runAsGroup, runAsNonRoot, seLinuxOptions, seccompProfile, ...own };
}

function seccomp(profile: SeccompProfile | undefined, settings: SecuritySettings): SecurityProfile {
  switch (profile?.type) {
    case 'RuntimeDefault':
      return { profileType: 'RuntimeDefault' };
    case 'Localhost':
      if ((profile.localhostProfile ?? '') === '') {
        throw new ContainerConfigError('localhostProfile must be set if seccompProfile type is Localhost.');
      }
      return { profileType: 'Localhost', localhostRef: `${settings.seccompProfileRoot}/${profile.localhostProfile}` };
    case 'Unconfined':
      return { profileType: 'Unconfined' };
    default:
      return { profileType: settings.seccompDefault ? 'RuntimeDefault' : 'Unconfined' };
  }
}

const appArmorAnnotation = 'container.apparmor.security.beta.kubernetes.io/';

/** The profile of a container: its own field, its annotation of older kind, or the pod's. */
export function appArmorProfileOf(pod: Pod, container: Container): AppArmorProfile | undefined {
  const own = container.securityContext?.appArmorProfile;
  if (own !== undefined) return own;
  const annotation = pod.metadata.annotations?.[`${appArmorAnnotation}${container.name}`] ?? '';
  if (annotation === 'runtime/default') return { type: 'RuntimeDefault' };
  if (annotation === 'unconfined') return { type: 'Unconfined' };
  if (annotation.startsWith('localhost/')) {
    return { type: 'Localhost', localhostProfile: annotation.slice('localhost/'.length) };
  }
  return pod.spec.securityContext?.appArmorProfile;
}

function appArmor(profile: AppArmorProfile | undefined): SecurityProfile | undefined {
  switch (profile?.type) {
    case 'RuntimeDefault':
      return { profileType: 'RuntimeDefault' };
    case 'Unconfined':
      return { profileType: 'Unconfined' };
    case 'Localhost':
      return { profileType: 'Localhost', localhostRef: profile.localhostProfile ?? '' };
    default:
      return undefined;
  }
}

function seLinux({ user = '', role = '', type = '', level = '' }: SELinuxOptions): SELinuxOption {
  return { user, role, type, level };
}

function podGroups(pod: Pod): number[] {
  const { fsGroup, supplementalGroups } = pod.spec.securityContext ?? {};
  return [...(fsGroup === undefined ? [] : [fsGroup]), ...(supplementalGroups ?? [])];
}

function verifyNonRoot(pod: Pod, container: Container, context: SecurityContext, user: ImageUser): void {
  if (context.runAsNonRoot !== true) return;
  const where = `(pod: "${pod.metadata.name}_${pod.metadata.namespace}(${pod.metadata.uid})", container: ${container.name})`;
  if (context.runAsUser !== undefined) {
    if (context.runAsUser === 0) {
      throw new RunAsNonRootError(`container's runAsUser breaks non-root policy ${where}`);
    }
    return;
  }
  if (user.uid === 0 || (user.uid === undefined && user.username === '')) {
    throw new RunAsNonRootError(`container has runAsNonRoot and image will run as root ${where}`);
  }
  if (user.username !== '') {
    throw new RunAsNonRootError(
      `container has runAsNonRoot and image has non-numeric user (${user.username}), cannot verify user is non-root ${where}`,
    );
  }
}

/** Where a container runs beside others. */
export interface ContainerPlace {
  /** The container whose processes an ephemeral one sees. */
  targetId?: string | undefined;
  /** The pod's own users. */
  users?: UserNamespace | undefined;
}

/** The security context of one container. Throws RunAsNonRootError. */
export function containerSecurityContext(
  pod: Pod,
  container: Container,
  user: ImageUser,
  settings: SecuritySettings,
  place: ContainerPlace = {},
): LinuxContainerSecurityContext {
  const context = effective(pod, container);
  verifyNonRoot(pod, container, context, user);
  const groups = podGroups(pod);
  const apparmor = appArmor(appArmorProfileOf(pod, container));
  const policy = pod.spec.securityContext?.supplementalGroupsPolicy;
  const runAsUser = context.runAsUser ?? user.uid ?? (user.username === '' ? 0 : undefined);
  const { capabilities, seLinuxOptions } = context;
  return {
    namespaceOptions: namespaceOptions(pod, place.targetId, place.users),
    ...(capabilities === undefined
      ? {}
      : { capabilities: { addCapabilities: capabilities.add ?? [], dropCapabilities: capabilities.drop ?? [] } }),
    ...(context.privileged === true ? { privileged: true } : {}),
    ...(seLinuxOptions === undefined ? {} : { selinuxOptions: seLinux(seLinuxOptions) }),
    ...(runAsUser === undefined ? { runAsUsername: user.username } : { runAsUser: { value: runAsUser } }),
    ...(context.runAsGroup === undefined ? {} : { runAsGroup: { value: context.runAsGroup } }),
    ...(context.readOnlyRootFilesystem === true ? { readonlyRootfs: true } : {}),
    ...(groups.length > 0 ? { supplementalGroups: groups } : {}),
    ...(policy === 'Strict' ? { supplementalGroupsPolicy: 'Strict' as const } : {}),
    ...(context.allowPrivilegeEscalation === false ? { noNewPrivs: true } : {}),
    ...(context.procMount === 'Unmasked' ? {} : { maskedPaths, readonlyPaths }),
    seccomp: seccomp(context.seccompProfile, settings),
    ...(apparmor === undefined ? {} : { apparmor }),
  };
}

/** The security context of a pod's sandbox. */
export function sandboxSecurityContext(pod: Pod, users?: UserNamespace): LinuxSandboxSecurityContext {
  const context = pod.spec.securityContext;
  const groups = podGroups(pod);
  const privileged = containersOf(pod).some(({ container }) => container.securityContext?.privileged === true);
  return {
    namespaceOptions: namespaceOptions(pod, undefined, users),
    ...(context?.seLinuxOptions === undefined ? {} : { selinuxOptions: seLinux(context.seLinuxOptions) }),
    ...(context?.runAsUser === undefined ? {} : { runAsUser: { value: context.runAsUser } }),
    ...(context?.runAsGroup === undefined ? {} : { runAsGroup: { value: context.runAsGroup } }),
    ...(groups.length > 0 ? { supplementalGroups: groups } : {}),
    ...(context?.supplementalGroupsPolicy === 'Strict' ? { supplementalGroupsPolicy: 'Strict' as const } : {}),
    ...(privileged ? { privileged: true } : {}),
    seccomp: { profileType: 'RuntimeDefault' },
  };
}
