// Filesystems on block devices, through blkid(8) and mkfs(8): a device that holds anything is never formatted.
import { type Exec, execOrThrow } from '#kube/process/exec.ts';
import type { FormatDevice } from './local-kind.ts';
import { VolumeError } from './payload.ts';

/** blkid found nothing that it knows. */
const nothingFound = 2;
const known = new Set(['ext2', 'ext3', 'ext4', 'xfs']);

/** Creates the function. */
export function createFormatDevice(exec: Exec): FormatDevice {
  return async (device, fsType) => {
    const found = await exec('blkid', ['-p', '-s', 'TYPE', '-s', 'PTTYPE', '-o', 'value', device]);
    if (found.exitCode === 0) return;
    if (found.exitCode !== nothingFound) {
      throw new VolumeError(
        `cannot tell what is on ${device}: ${found.stderr.trim() || `exit status ${found.exitCode}`}`,
      );
    }
    if (!known.has(fsType)) throw new VolumeError(`cannot make a filesystem of type "${fsType}"`);
    const flags = fsType.startsWith('ext') ? ['-F', '-m0'] : ['-f'];
    await execOrThrow(exec, `mkfs.${fsType}`, [...flags, device]);
  };
}
