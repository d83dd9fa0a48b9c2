// One volume of a pod on its way through its driver.
import type { CSIDriver } from '#kube/api/generated/storage-v1.ts';
import { VolumeError } from '../payload.ts';
import type { VolumeRequest } from '../volume-kind.ts';
import type { CsiNodeClient } from './csi-node-client.ts';
import type { CsiSource } from './plan-csi-volume.ts';

/** One volume of a pod on its way. */
export interface CsiTask {
  request: VolumeRequest;
  source: CsiSource;
  driver: CsiNodeClient;
  described: CSIDriver | undefined;
  /** What the attacher said about the volume. */
  context: Record<string, string>;
}

/** Runs `work`; what it throws names `step`. */
export async function inStep<T>(step: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw new VolumeError((error as Error).message, { step, cause: error });
  }
}
