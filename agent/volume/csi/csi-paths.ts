// Where CSI volumes lie: kubelet's layout, so that either agent finds what the other did (pkg/volume/csi).
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { deviceDirectory, plainName, podDirectory, volumeDirectory } from '../pod-paths.ts';

/** Name of the plugin in directories. */
export const csiPlugin = 'kubernetes.io/csi';
/** Name of the file that says which volume a directory is. */
export const volumeDataFile = 'vol_data.json';

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');

/** The directory of a pod's volume, which holds `mount` and the data file. */
export function csiVolumeDirectory(rootDir: string, podUid: string, specName: string): string {
  return volumeDirectory(rootDir, podUid, csiPlugin, specName);
}

/** All CSI volumes of a pod. */
export function csiVolumesOfPod(rootDir: string, podUid: string): string {
  return join(podDirectory(rootDir, podUid), 'volumes', 'kubernetes.io~csi');
}

/** All CSI devices of a pod: links by the name of the persistent volume. */
export function csiDevicesOfPod(rootDir: string, podUid: string): string {
  return deviceDirectory(rootDir, podUid, csiPlugin);
}

/** Where a volume is staged for all pods of the node; it holds `globalmount` and the data file. */
export function stagingDirectory(rootDir: string, driver: string, handle: string): string {
  return join(rootDir, 'plugins', csiPlugin, plainName(driver), sha256(handle));
}

/** Everything about one raw device. */
export function blockPaths(rootDir: string, specName: string) {
  const root = join(rootDir, 'plugins', csiPlugin, 'volumeDevices');
  const name = plainName(specName);
  return {
    data: join(root, name, 'data'),
    staging: join(root, 'staging', name),
    publish: (podUid: string) => join(root, 'publish', name, plainName(podUid)),
  };
}

/** The handle of a volume that lives with its pod. */
export function ephemeralHandle(podUid: string, volume: string): string {
  return `csi-${sha256(`${podUid}${volume}`)}`;
}

/** The name of the VolumeAttachment of a volume to a node. */
export function attachmentName(handle: string, driver: string, node: string): string {
  return `csi-${sha256(`${handle}${driver}${node}`)}`;
}

/** As volumes are named in a node's status. */
export function uniqueVolumeName(driver: string, handle: string): string {
  return `${csiPlugin}/${driver}^${handle}`;
}
