// The mounts of a container: volumes in the order of the definition, then /etc/hosts and the termination log.
import { randomBytes } from 'node:crypto';
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Container, Pod, Volume, VolumeMount } from '#kube/api/generated/core-v1.ts';
import type { Device } from '#proto/generated/cri/runtime/v1/Device.ts';
import type { Mount } from '#proto/generated/cri/runtime/v1/Mount.ts';
import type { ImageSource } from '../volume/image-volume.ts';
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
  /** Makes an image volume ready for this container; throws what keeps it from that. */
  image(volume: Volume): Promise<{ source: ImageSource; imageId: string }>;
  /** Whether the pod's runtime can make all below a mount read-only. */
  recursiveReadOnly: boolean;
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

/** Whether all below the mount is to be read-only too (KEP 3857). Throws where that is asked for and cannot be. */
export function isRecursivelyReadOnly(mount: VolumeMount, isSupported: boolean): boolean {
  const { name, recursiveReadOnly: mode = 'Disabled', readOnly, mountPropagation = 'None' } = mount;
  if (mode === 'Disabled') return false;
  const refuse = (why: string) =>
    new ContainerConfigError(`volume "${name}" requested recursiveReadOnly mode, but it is not ${why}`);
  if (readOnly !== true) throw refuse('read-only');
  if (mountPropagation !== 'None') throw refuse(`compatible with propagation "${mountPropagation}"`);
  if (mode === 'Enabled' && !isSupported) throw refuse('supported by the runtime');
  return isSupported;
}

/** The part of the volume at `root` that the mount names, bound where nobody can exchange it. */
async function subPathOnHost(
  pod: Pod,
  container: Container,
  index: number,
  mount: VolumeMount,
  root: string,
  inputs: MountInputs,
): Promise<string> {
  try {
    const subPath = subPathOf(mount, inputs.environment);
    if (subPath === '') return root;
    const directory = subPathDirectory(inputs.rootDir, pod.metadata.uid ?? '', mount.name, container.name);
    const target = subPathTarget(directory, index);
    await bindSubPath(root, subPath, target, inputs.mounter);
    return target;
  } catch (error) {
    const message = `failed to prepare subPath for volumeMount "${mount.name}" of container "${container.name}"`;
    throw new ContainerConfigError(message, { cause: error });
  }
}

async function volumeMount(
  pod: Pod,
  container: Container,
  index: number,
  mount: VolumeMount,
  inputs: MountInputs,
): Promise<Mount> {
  const containerPath = mount.mountPath.startsWith('/') ? mount.mountPath : `/${mount.mountPath}`;
  const isRecursive = isRecursivelyReadOnly(mount, inputs.recursiveReadOnly);
  const flags = { ...propagation(mount.mountPropagation), ...(isRecursive ? { recursiveReadOnly: true } : {}) };
  const ofImage = pod.spec.volumes?.find(({ name, image }) => name === mount.name && image !== undefined);
  if (ofImage !== undefined) {
    const { source, imageId } = await inputs.image(ofImage);
    if (source.type === 'runtime') {
      const imageSubPath = subPathOf(mount, inputs.environment);
      const image = { image: imageId, userSpecifiedImage: ofImage.image?.reference ?? '' };
      return { containerPath, image, readonly: true, ...(imageSubPath === '' ? {} : { imageSubPath }), ...flags };
    }
    const hostPath = await subPathOnHost(pod, container, index, mount, source.hostPath, inputs);
    return { containerPath, hostPath, readonly: true, ...flags };
  }
  const volume = inputs.volumes.get(mount.name);
  if (volume === undefined) throw new ContainerConfigError(`volume "${mount.name}" is not mounted`);
  const hostPath = await subPathOnHost(pod, container, index, mount, volume.hostPath, inputs);
  return {
    containerPath,
    hostPath,
    ...(volume.readOnly || mount.readOnly === true ? { readonly: true } : {}),
    ...flags,
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
