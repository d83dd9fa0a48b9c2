// How full a volume is, as its driver tells.
import type { VolumeUsage } from '../measure-usage.ts';
import type { CsiNodeClient } from './csi-node-client.ts';

/** Undefined for drivers that do not tell. Throws CsiError. */
export async function measureCsiVolume(
  driver: CsiNodeClient,
  handle: string,
  volumePath: string,
): Promise<VolumeUsage | undefined> {
  const capabilities = await driver.capabilities();
  if (!capabilities.has('GET_VOLUME_STATS')) return undefined;
  const { usage, volumeCondition } = await driver.stats(handle, volumePath);
  const bytes = usage.find(({ unit }) => unit === 'BYTES');
  const inodes = usage.find(({ unit }) => unit === 'INODES');
  const condition =
    capabilities.has('VOLUME_CONDITION') && volumeCondition ? { abnormal: volumeCondition.abnormal } : {};
  return {
    usedBytes: Number(bytes?.used ?? 0),
    capacityBytes: Number(bytes?.total ?? 0),
    availableBytes: Number(bytes?.available ?? 0),
    inodesUsed: Number(inodes?.used ?? 0),
    inodes: Number(inodes?.total ?? 0),
    inodesFree: Number(inodes?.available ?? 0),
    ...condition,
  };
}
