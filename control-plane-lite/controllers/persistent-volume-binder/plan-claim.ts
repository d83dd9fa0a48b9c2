// What a claim needs next: a volume, patience, or the news that its volume is lost
// (pkg/controller/volume/persistentvolume/pv_controller.go: syncClaim). Pure.
import type { PersistentVolume, PersistentVolumeClaim } from '#kube/api/generated/core-v1.ts';
import type { StorageClass } from '#kube/api/generated/storage-v1.ts';
import {
  bindCompletedAnnotation,
  isVolumeOf,
  namesStorageClass,
  noProvisioner,
  selectedNodeAnnotation,
  selectVolume,
  storageClassOf,
  volumeMismatch,
  waitsForConsumer,
} from '#kube/api/persistent-volumes.ts';

/** An event about the claim. */
export interface ClaimEvent {
  type: 'Normal' | 'Warning';
  reason: string;
  message: string;
}

export type ClaimAction =
  | { type: 'bind'; volume: PersistentVolume }
  /** The claim named none when there was no default class yet. */
  | { type: 'assignClass'; name: string }
  | { type: 'provision'; provisioner: string }
  | { type: 'lose'; event: ClaimEvent }
  | { type: 'wait'; event?: ClaimEvent };

/** What the decision depends on. */
export interface ClaimInputs {
  claim: PersistentVolumeClaim;
  volumes: readonly PersistentVolume[];
  storageClass: StorageClass | undefined;
  /** Name of the class of claims that name none. */
  defaultClass?: string | undefined;
  /** Name of a pod without a node that uses the claim. */
  waitingPod: string | undefined;
}

function wait(type: ClaimEvent['type'], reason: string, message: string): ClaimAction {
  return { type: 'wait', event: { type, reason, message } };
}

function planBound({ claim, volumes }: ClaimInputs): ClaimAction {
  const lose = (reason: string, message: string): ClaimAction => ({
    type: 'lose',
    event: { type: 'Warning', reason, message },
  });
  const name = claim.spec.volumeName ?? '';
  if (name === '')
    return lose('ClaimLost', 'Bound claim has lost reference to PersistentVolume. Data on the volume is lost!');
  const volume = volumes.find(({ metadata }) => metadata.name === name);
  if (volume === undefined) {
    return lose('ClaimLost', 'Bound claim has lost its PersistentVolume. Data on the volume is lost!');
  }
  if (volume.spec.claimRef === undefined || isVolumeOf(volume, claim)) return { type: 'bind', volume };
  return lose('ClaimMisbound', 'Two claims are bound to the same volume, this one is bound incorrectly');
}

function planNamed({ claim, volumes }: ClaimInputs, name: string): ClaimAction {
  const volume = volumes.find(({ metadata }) => metadata.name === name);
  if (volume === undefined) return { type: 'wait' };
  if (isVolumeOf(volume, claim)) return { type: 'bind', volume };
  if (volume.spec.claimRef !== undefined) {
    const message = `volume "${name}" already bound to a different claim.`;
    return wait('Warning', 'FailedBinding', message);
  }
  const mismatch = volumeMismatch(volume, claim);
  if (mismatch === undefined) return { type: 'bind', volume };
  return wait('Warning', 'VolumeMismatch', `Cannot bind to requested volume "${name}": ${mismatch}`);
}

function planUnbound(inputs: ClaimInputs): ClaimAction {
  const { claim, volumes, storageClass, waitingPod } = inputs;
  const hasNode = (claim.metadata.annotations?.[selectedNodeAnnotation] ?? '') !== '';
  const delayed = waitsForConsumer(storageClass);
  const volume = selectVolume(claim, volumes, { onlyNamed: delayed });
  if (volume !== undefined) return { type: 'bind', volume };
  if (delayed && !hasNode) {
    return waitingPod === undefined
      ? wait('Normal', 'WaitForFirstConsumer', 'waiting for first consumer to be created before binding')
      : wait('Normal', 'WaitForPodScheduled', `waiting for pod ${waitingPod} to be scheduled`);
  }
  if (inputs.defaultClass !== undefined && !namesStorageClass(claim)) {
    return { type: 'assignClass', name: inputs.defaultClass };
  }
  const className = storageClassOf(claim);
  if (className === '') {
    const message = 'no persistent volumes available for this claim and no storage class is set';
    return wait('Normal', 'FailedBinding', message);
  }
  if (storageClass === undefined) {
    return wait('Warning', 'ProvisioningFailed', `storageclass.storage.k8s.io "${className}" not found`);
  }
  const { provisioner } = storageClass;
  if (provisioner === noProvisioner) return { type: 'wait' };
  return { type: 'provision', provisioner };
}

/** Decides. */
export function planClaim(inputs: ClaimInputs): ClaimAction {
  const { metadata, spec } = inputs.claim;
  if (metadata.annotations?.[bindCompletedAnnotation] !== undefined) return planBound(inputs);
  const name = spec.volumeName ?? '';
  return name === '' ? planUnbound(inputs) : planNamed(inputs, name);
}
