// Lets a driver grow the filesystem on a volume that became larger, and tells the claim its new size
// (pkg/volume/util/resizefs, pkg/volume/csi/expander.go).
import type { PersistentVolumeClaim, Pod } from '#kube/api/generated/core-v1.ts';
import { persistentvolumeclaims } from '#kube/api/generated/resources.ts';
import { quantityValue } from '#kube/api/quantity.ts';
import type { ApiClient } from '#kube/client/types.ts';
import type { VolumeCapability } from '#proto/generated/csi/csi/v1/VolumeCapability.ts';
import type { BoundClaim } from '../volume-kind.ts';
import type { CsiNodeClient } from './csi-node-client.ts';

const resizeConditions = new Set(['FileSystemResizePending', 'Resizing', 'ControllerResizeError', 'NodeResizeError']);

/** Whether the volume is larger than its claim knows. */
export function needsExpansion({ claim, volume, readOnly }: BoundClaim): boolean {
  if (readOnly || claim.status?.capacity?.['storage'] === undefined) return false;
  return quantityValue(volume.spec.capacity?.['storage']) > quantityValue(claim.status.capacity['storage']);
}

/** The volume on this node. */
export interface ExpandTarget {
  pod: Pod;
  bound: BoundClaim;
  handle: string;
  volumePath: string;
  stagingTargetPath: string;
  volumeCapability: VolumeCapability;
  secrets: Record<string, string>;
}

async function tellClaim(client: ApiClient, { claim, volume }: BoundClaim): Promise<void> {
  const { namespace, name } = claim.metadata;
  const status = {
    capacity: { ...claim.status?.capacity, storage: volume.spec.capacity?.['storage'] },
    conditions: (claim.status?.conditions ?? []).filter(({ type }) => !resizeConditions.has(type)),
    allocatedResourceStatuses: null,
  };
  await client.patch<PersistentVolumeClaim>(
    persistentvolumeclaims,
    { namespace, name },
    'merge',
    { status },
    { subresource: 'status' },
  );
}

/** Expands. Throws CsiError. A driver that has nothing to do on the node is asked nothing. */
export async function expandVolume(
  client: ApiClient,
  driver: CsiNodeClient,
  target: ExpandTarget,
  signal: AbortSignal,
): Promise<void> {
  const { bound, handle, volumePath, stagingTargetPath, volumeCapability, secrets } = target;
  const capabilities = await driver.capabilities(signal);
  if (capabilities.has('EXPAND_VOLUME')) {
    const requiredBytes = quantityValue(bound.volume.spec.capacity?.['storage']);
    const request = { volumeId: handle, volumePath, stagingTargetPath, volumeCapability, secrets };
    await driver.expand({ ...request, capacityRange: { requiredBytes } }, signal);
  }
  await tellClaim(client, bound);
}
