// Starts one container: image, environment, mounts, creation, start, hook, with the events of each step
// (pkg/kubelet/kuberuntime/kuberuntime_container.go: startContainer).
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Container, Pod, Service, Volume } from '#kube/api/generated/core-v1.ts';
import type { PodSandboxConfig } from '#proto/generated/cri/runtime/v1/PodSandboxConfig.ts';
import type { UserNamespace } from '#proto/generated/cri/runtime/v1/UserNamespace.ts';
import { type ContainerSettings, containerConfig } from '../container/container-config.ts';
import { containerDevices, containerMounts } from '../container/container-mounts.ts';
import type { DownwardSettings } from '../container/downward-value.ts';
import { buildEnvironment, ContainerConfigError, type EnvironmentSources } from '../container/environment.ts';
import { podHostnameAndDomain } from '../container/hostname.ts';
import { hostsFile } from '../container/hosts-file.ts';
import { legacyLogLink } from '../container/log-paths.ts';
import type { ContainerKind } from '../container/pod-containers.ts';
import { readVolumeFile } from '../container/read-volume-file.ts';
import { RunAsNonRootError } from '../container/security-context.ts';
import { serviceEnvironment } from '../container/service-environment.ts';
import type { PodSteps, StepKey } from '../explain/pod-steps.ts';
import { type EnsureImage, ImageError, type PresentImage } from '../image/ensure-image.ts';
import type { RegistryCredential } from '../image/pull-credentials.ts';
import type { ContainerExtras } from '../resource-manager/hint-provider.ts';
import type { ImageVolumes } from '../volume/image-volume.ts';
import type { Mounter } from '../volume/mounter.ts';
import { hostsFilePath } from '../volume/pod-paths.ts';
import type { PreparedVolume } from '../volume/volume-manager.ts';
import { createWithFreeName } from './create-with-free-name.ts';
import type { RecordPodEvent } from './pod-events.ts';
import { type HookTools, runHook } from './run-hook.ts';

/** What starting containers needs of the node. */
export interface StartTools extends HookTools {
  ensureImage: EnsureImage;
  record: RecordPodEvent;
  steps: PodSteps;
  mounter: Mounter;
  imageVolumes: ImageVolumes;
  /** Whether the pod's runtime can make all below a mount read-only. */
  recursiveReadOnly(pod: Pod): boolean;
  rootDir: string;
  clusterDomain: string;
  container: ContainerSettings;
  services(): readonly Service[];
  sources(pod: Pod): EnvironmentSources;
  credentials(pod: Pod, image: string): Promise<RegistryCredential[]>;
  downward(pod: Pod, podIps: string[]): DownwardSettings;
  readHostsFile(): Promise<string>;
  /** Devices, processors and memory that the container was given. */
  extras?(pod: Pod, container: Container, signal: AbortSignal): Promise<ContainerExtras>;
  /** Where collectors of older kind look for a link to every log; absent: no links. */
  legacyLogsDir?: string | undefined;
  /** Told of image volumes: wished for, then mounted or failed. */
  imageVolumeStep?(step: 'requested' | 'mounted' | 'failed'): void;
  /** Told every container that was started. */
  started?(kind: string): void;
}

/** The pod around the container. */
export interface StartTarget {
  pod: Pod;
  sandboxId: string;
  sandboxConfig: PodSandboxConfig;
  podIps: string[];
  volumes: ReadonlyMap<string, PreparedVolume>;
  /** The pod's own users, where it has them. */
  users?: UserNamespace | undefined;
}

/** Which run of which container. */
export interface StartRequest {
  kind: ContainerKind;
  container: Container;
  restartCount: number;
  /** The container an ephemeral one looks into. */
  targetId?: string | undefined;
}

/** A container that could not be started; `reason` is what its status shows. */
export class StartError extends Error {
  readonly code = 'START_CONTAINER';
  readonly reason: string;
  readonly retryAfterMs: number | undefined;
  /** Set when the container runs and has to be stopped again. */
  readonly startedId: string | undefined;

  constructor(
    reason: string,
    message: string,
    options: ErrorOptions & { retryAfterMs?: number | undefined; startedId?: string } = {},
  ) {
    super(message, options);
    this.name = 'StartError';
    this.reason = reason;
    this.retryAfterMs = options.retryAfterMs;
    this.startedId = options.startedId;
  }
}

async function writeHostsFile(tools: StartTools, { pod, podIps }: StartTarget): Promise<void> {
  const path = hostsFilePath(tools.rootDir, pod.metadata.uid ?? '');
  const { hostname, domain } = podHostnameAndDomain(pod, tools.clusterDomain);
  await mkdir(dirname(path), { recursive: true, mode: 0o750 });
  const hostText = pod.spec.hostNetwork === true ? await tools.readHostsFile() : '';
  await writeFile(path, hostsFile(pod, { ips: podIps, hostname, domain }, hostText), { mode: 0o644 });
}

async function prepare(
  tools: StartTools,
  target: StartTarget,
  request: StartRequest,
  imageId: string,
  imageUser: { uid: number | undefined; username: string },
  signal: AbortSignal,
) {
  const { pod } = target;
  const { container } = request;
  const links = pod.spec.enableServiceLinks ?? true;
  const services = serviceEnvironment(tools.services(), pod.metadata.namespace ?? '', links);
  const downward = tools.downward(pod, target.podIps);
  const file = (volume: string, path: string) => {
    const root = target.volumes.get(volume)?.hostPath;
    if (root === undefined)
      throw new ContainerConfigError(`cannot find the volume "${volume}" referenced by FileKeyRef`);
    return readVolumeFile(root, path);
  };
  const sources = { ...tools.sources(pod), file };
  const environment = await buildEnvironment(pod, container, services, sources, downward);
  const extras = await tools.extras?.(pod, container, signal);
  for (const [name, value] of Object.entries(extras?.environment ?? {})) {
    if (!environment.has(name)) environment.set(name, value);
  }
  await writeHostsFile(tools, target);
  const { rootDir, mounter } = tools;
  const { volumes } = target;
  const recursiveReadOnly = tools.recursiveReadOnly(pod);
  const image = (volume: Volume) => prepareImage(tools, target, volume, signal);
  const inputs = { rootDir, mounter, volumes, environment, image, recursiveReadOnly };
  const mounts = await containerMounts(pod, container, inputs);
  const devices = containerDevices(container, volumes);
  const { restartCount, targetId } = request;
  return containerConfig(
    pod,
    container,
    {
      ...{ restartCount, imageRef: imageId, imageUser, environment, targetId, users: target.users, extras },
      mounts: [...mounts, ...(extras?.mounts ?? [])],
      devices: [...devices, ...(extras?.devices ?? [])],
    },
    tools.container,
  );
}

/** Pulls the image of a volume like one of a container, and makes its files available. Throws ImageError. */
async function prepareImage(tools: StartTools, target: StartTarget, volume: Volume, signal: AbortSignal) {
  const { pod, sandboxConfig } = target;
  const { reference, pullPolicy } = volume.image ?? {};
  const policy = pullPolicy === undefined ? {} : { imagePullPolicy: pullPolicy };
  const asContainer: Container = { name: '', image: reference ?? '', ...policy };
  tools.imageVolumeStep?.('requested');
  try {
    const credentials = (image: string) => tools.credentials(pod, image);
    const { id } = await tools.ensureImage(pod, asContainer, sandboxConfig, credentials, signal);
    const source = await tools.imageVolumes.prepare(pod.metadata.uid ?? '', volume.name, id, signal);
    tools.imageVolumeStep?.('mounted');
    return { source, imageId: id };
  } catch (error) {
    tools.imageVolumeStep?.('failed');
    throw error;
  }
}

async function linkLog(
  { legacyLogsDir }: StartTools,
  { pod, sandboxConfig }: StartTarget,
  logPath: string,
  name: string,
  containerId: string,
): Promise<void> {
  if (legacyLogsDir === undefined) return;
  const link = legacyLogLink(pod.metadata.name, pod.metadata.namespace ?? '', name, containerId);
  await mkdir(legacyLogsDir, { recursive: true, mode: 0o755 });
  await symlink(join(sandboxConfig.logDirectory ?? '', logPath), join(legacyLogsDir, link)).catch(
    (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error;
    },
  );
}

/** Creates and starts the container. Throws StartError. */
async function createAndStart(
  tools: StartTools,
  target: StartTarget,
  request: StartRequest,
  image: PresentImage,
  signal: AbortSignal,
): Promise<string> {
  const { pod, sandboxId, sandboxConfig } = target;
  const { name } = request.container;
  const fail = (reason: string, error: unknown): never => {
    signal.throwIfAborted();
    const { message } = error as Error;
    tools.record(pod, 'Warning', 'Failed', `Error: ${message}`, name);
    throw new StartError(reason, message, { cause: error });
  };
  const config = await prepare(tools, target, request, image.id, image.user, signal).catch((error: unknown) => {
    if (error instanceof ImageError) {
      const { reason, message, retryAfterMs } = error;
      tools.record(pod, 'Warning', 'Failed', `Error: ${reason}`, name);
      throw new StartError(reason, message, { cause: error, retryAfterMs });
    }
    const known = error instanceof ContainerConfigError || error instanceof RunAsNonRootError;
    return fail(known ? 'CreateContainerConfigError' : 'CreateContainerError', error);
  });
  await mkdir(join(sandboxConfig.logDirectory ?? '', name), { recursive: true, mode: 0o755 });
  const containerId = await createWithFreeName(
    request.restartCount,
    (attempt) => {
      const metadata = { name, ...(attempt === 0 ? {} : { attempt }) };
      return tools.runtime.createContainer(sandboxId, { ...config, metadata }, sandboxConfig, signal);
    },
    (id) => tools.runtime.removeContainer(id, signal),
  ).catch((error: unknown) => fail('CreateContainerError', error));
  tools.record(pod, 'Normal', 'Created', 'Container created', name);
  await tools.runtime.startContainer(containerId, signal).catch((error: unknown) => fail('RunContainerError', error));
  tools.record(pod, 'Normal', 'Started', 'Container started', name);
  tools.started?.(request.kind === 'regular' ? 'container' : `${request.kind}_container`);
  await linkLog(tools, target, config.logPath ?? '', name, containerId);
  return containerId;
}

/** Starts the container and returns its id. Throws StartError; every failure is recorded as an event. */
export async function startContainer(
  tools: StartTools,
  target: StartTarget,
  request: StartRequest,
  signal: AbortSignal,
): Promise<string> {
  const { pod, sandboxConfig } = target;
  const { container } = request;
  const { name } = container;
  const uid = pod.metadata.uid ?? '';
  const step = <T>(key: StepKey['step'], subject: string | undefined, work: () => Promise<T>) =>
    tools.steps.run(uid, { step: key, container: name, subject }, work);

  const credentials = (image: string) => tools.credentials(pod, image);
  const image = await step('pull', container.image, () =>
    tools.ensureImage(pod, container, sandboxConfig, credentials, signal),
  ).catch((error: unknown) => {
    signal.throwIfAborted();
    if (error instanceof ImageError) {
      tools.record(pod, 'Warning', 'Failed', `Error: ${error.reason}`, name);
      throw new StartError(error.reason, error.message, { cause: error, retryAfterMs: error.retryAfterMs });
    }
    const { message } = error as Error;
    tools.record(pod, 'Warning', 'Failed', `Error: ${message}`, name);
    throw new StartError('ImageInspectError', message, { cause: error });
  });
  const containerId = await step('start', undefined, () => createAndStart(tools, target, request, image, signal));

  const postStart = container.lifecycle?.postStart;
  if (postStart === undefined) return containerId;
  const host = target.podIps[0] ?? '127.0.0.1';
  try {
    await step('hook', undefined, () => runHook(tools, postStart, { container, containerId, host }, signal));
  } catch (error) {
    signal.throwIfAborted();
    tools.record(pod, 'Warning', 'FailedPostStartHook', 'PostStartHook failed', name);
    throw new StartError('PostStartHookError', 'PostStartHook failed', { cause: error, startedId: containerId });
  }
  return containerId;
}
