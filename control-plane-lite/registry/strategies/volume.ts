// Persistent volumes and claims: the phase they start in.
import type { PersistentVolume, PersistentVolumeClaim } from '#kube/api/generated/core-v1.ts';
import type { KubeObject } from '#kube/api/resource.ts';
import { timestamp } from '../object-meta.ts';
import type { Strategy } from '../strategy.ts';

export const persistentVolumeStrategy: Strategy<KubeObject & PersistentVolume> = {
  prepareCreate: (volume, { nowMs }) => {
    volume.status = { phase: 'Pending', lastPhaseTransitionTime: timestamp(nowMs) };
  },
  prepareUpdate: (volume, previous, { nowMs }, subresource) => {
    if (subresource !== 'status' || volume.status === undefined) return;
    if (volume.status.phase !== previous.status?.phase) {
      volume.status.lastPhaseTransitionTime ??= timestamp(nowMs);
      if (volume.status.lastPhaseTransitionTime === previous.status?.lastPhaseTransitionTime) {
        volume.status.lastPhaseTransitionTime = timestamp(nowMs);
      }
    }
  },
};

export const claimStrategy: Strategy<KubeObject & PersistentVolumeClaim> = {
  prepareCreate: (claim) => {
    claim.status = { phase: 'Pending' };
  },
};
