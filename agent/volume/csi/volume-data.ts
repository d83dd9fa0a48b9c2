// vol_data.json: what is needed to take a volume back when everything else is forgotten (pkg/volume/csi/csi_util.go).
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { replaceFile } from '#kube/process/replace-file.ts';
import { volumeDataFile } from './csi-paths.ts';

/** The file beside a pod's volume. */
export interface VolumeData {
  specVolID: string;
  volumeHandle: string;
  driverName: string;
  nodeName: string;
  attachmentID: string;
  volumeLifecycleMode: 'Persistent' | 'Ephemeral';
  seLinuxMountContext: string;
}

/** The file beside a staged volume. */
export type StagingData = Pick<VolumeData, 'volumeHandle' | 'driverName'>;

/** Writes the file; the directory is made. */
export async function writeVolumeData(directory: string, data: VolumeData | StagingData): Promise<void> {
  await replaceFile(join(directory, volumeDataFile), JSON.stringify(data));
}

const text = (value: unknown): string => (typeof value === 'string' ? value : '');

/** Undefined where there is none, or one that does not name a volume. */
export async function readVolumeData(directory: string): Promise<VolumeData | undefined> {
  let parsed: unknown;
  try {
    parsed = JSON.parse(await readFile(join(directory, volumeDataFile), 'utf8'));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT' || error instanceof SyntaxError) return undefined;
    if ((error as NodeJS.ErrnoException).code === 'ENOTDIR') return undefined;
    throw error;
  }
  if (typeof parsed !== 'object' || parsed === null) return undefined;
  const fields = parsed as Record<string, unknown>;
  const data: VolumeData = {
    specVolID: text(fields['specVolID']),
    volumeHandle: text(fields['volumeHandle']),
    driverName: text(fields['driverName']),
    nodeName: text(fields['nodeName']),
    attachmentID: text(fields['attachmentID']),
    volumeLifecycleMode: fields['volumeLifecycleMode'] === 'Ephemeral' ? 'Ephemeral' : 'Persistent',
    seLinuxMountContext: text(fields['seLinuxMountContext']),
  };
  return data.driverName === '' || data.volumeHandle === '' ? undefined : data;
}
