// The mounts of a container: volumes in the order of the definition, then /etc/hosts and the termination log.
import { randomBytes } from 'node:crypto';
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Container, Pod, VolumeMount } from '#kube/api/generated/core-v1.ts';
import type { Device } from '#proto/generated/cri/runtime/v1/Device.ts';
import type { Mount } from '#proto/generated/cri/runtime/v1/Mount.ts';
import type { Mounter } from '../volume/mounter.ts';
import { containerDirectory, hostsFilePath, subPathDirectory } from '../volume/pod-paths.ts';
import { bindSubPath, subPathTarget } from '../volume/sub-path.ts';
import type { PreparedVolume } from '../volume/volume-kind.ts';
import { ContainerConfigError } from './environment.ts';
import { expandStrictly } from './expand-variables.ts';

/** What the mounts are made from. */
export interface MountInputs {
  rootDir: string;
  mounter: Mounter;
  volumes: ReadonlyMap<string, PreparedVolume>;
  environment: ReadonlyMap<string, string>;
}

function propagation(mode: string | undefined): Pick<Mount, 'propagation'> {
  if (mode === 'HostToContainer') return { propagation: 'PROPAGATION_HOST_TO_CONTAINER' };
  if (mode === 'Bidirectional') return { propagation: 'PROPAGATION_BIDIRECTIONAL' };
  return {};
}

function subPathOf(mount: VolumeMount, environment: ReadonlyMap<string, string>): string {
  if (mount.subPathExpr !== undefined && mount.subPathExpr !== '') {
    return expandStrictly(mount.subPathExpr, (name) => environment.get(name));
  }
  return mount.subPath ?? '';
}

async function volumeMount(
  pod: Pod,
  container: Container,
  index: number,
  mount: VolumeMount,
  inputs: MountInputs,
): Promise<Mount> {
  const volume = inputs.volumes.get(mount.name);
  if (volume === undefined) throw new ContainerConfigError(`volume "${mount.name}" is not mounted`);
  let { hostPath } = volume;
  try {
    const subPath = subPathOf(mount, inputs.environment);
    if (subPath !== '') {
      const directory = subPathDirectory(inputs.rootDir, pod.metadata.uid ?? '', mount.name, container.name);
      const target = subPathTarget(directory, index);
      await bindSubPath(hostPath, subPath, target, inputs.mounter);
      hostPath = target;
    }
  } catch (error) {
    const message = `failed to prepare subPath for volumeMount "${mount.name}" of container "${container.name}"`;
    throw new ContainerConfigError(message, { cause: error });
  }
  const containerPath = mount.mountPath.startsWith('/') ? mount.mountPath : `/${mount.mountPath}`;
  return {
    containerPath,
    hostPath,
    ...(volume.readOnly || mount.readOnly === true ? { readonly: true } : {}),
    ...propagation(mount.mountPropagation),
  };
}

/** The raw devices of the container. Throws ContainerConfigError. */
export function containerDevices(
  { volumeDevices = [] }: Container,
  volumes: ReadonlyMap<string, PreparedVolume>,
): Device[] {
  return volumeDevices.map(({ name, devicePath }) => {
    const volume = volumes.get(name);
    if (volume?.isDevice !== true) throw new ContainerConfigError(`volume "${name}" is not a device`);
    return { containerPath: devicePath, hostPath: volume.hostPath, permissions: volume.readOnly ? 'r' : 'mrw' };
  });
}

async function terminationLog(pod: Pod, container: Container, rootDir: string): Promise<Mount> {
  const directory = containerDirectory(rootDir, pod.metadata.uid ?? '', container.name);
  await mkdir(directory, { recursive: true, mode: 0o750 });
  const hostPath = join(directory, randomBytes(4).toString('hex'));
  await writeFile(hostPath, '', { mode: 0o666 });
  // Whatever user the container runs as may write its last words.
  await chmod(hostPath, 0o666);
  return { containerPath: container.terminationMessagePath ?? '/dev/termination-log', hostPath };
}

/** Builds the mounts; throws ContainerConfigError. */
export async function containerMounts(pod: Pod, container: Container, inputs: MountInputs): Promise<Mount[]> {
  const mounts: Mount[] = [];
  for (const [index, mount] of (container.volumeMounts ?? []).entries()) {
    mounts.push(await volumeMount(pod, container, index, mount, inputs));
  }
  if (!mounts.some((mount) => mount.containerPath === '/etc/hosts')) {
    mounts.push({ containerPath: '/etc/hosts', hostPath: hostsFilePath(inputs.rootDir, pod.metadata.uid ?? '') });
  }
  if (container.terminationMessagePath !== '') mounts.push(await terminationLog(pod, container, inputs.rootDir));
  return mounts;
}
