// Grows volumes whose claims ask for more. Volumes of CSI drivers are grown by their own resizers, which only have to be
// told about; of others none can grow (pkg/controller/volume/expand).
import type { PersistentVolumeClaim } from '#kube/api/generated/core-v1.ts';
import { persistentvolumeclaims } from '#kube/api/generated/resources.ts';
import { quantityValue } from '#kube/api/quantity.ts';
import { objectKey } from '#kube/api/resource.ts';
import { referenceTo } from '#kube/events/event-recorder.ts';
import { type Controller, type ControllerContext, createControllerQueue, queueController } from '../controller.ts';

/** Whether the claim is bound and asks for more than it has. Pure. */
export function asksForMore({ spec, status }: PersistentVolumeClaim): boolean {
  if (status?.phase !== 'Bound') return false;
  const wanted = quantityValue(spec.resources?.requests?.['storage']);
  return wanted > quantityValue(status.capacity?.['storage']);
}

/** Creates the controller. */
export function createVolumeExpander(context: ControllerContext): Controller {
  const { informers, recorder } = context;
  const queue = createControllerQueue(context);
  const told = new Map<string, string>();
  const enqueue = (claim: PersistentVolumeClaim) => {
    if (asksForMore(claim)) queue.add(objectKey(claim));
  };
  informers.persistentvolumeclaims.subscribe({
    added: enqueue,
    updated: (_, claim) => enqueue(claim),
    deleted: (claim) => void told.delete(objectKey(claim)),
  });

  async function sync(key: string): Promise<void> {
    const claim = informers.persistentvolumeclaims.get(key);
    if (claim === undefined || !asksForMore(claim)) return;
    const volume = informers.persistentvolumes.get(claim.spec.volumeName ?? '');
    if (volume === undefined) return;
    const wanted = claim.spec.resources?.requests?.['storage'] ?? '';
    if (told.get(key) === wanted) return;
    told.set(key, wanted);
    const message =
      volume.spec.csi === undefined
        ? `didn't find a plugin capable of expanding the volume; waiting for an external controller to process this PVC`
        : `waiting for an external controller to expand this PVC`;
    const type = volume.spec.csi === undefined ? 'Warning' : 'Normal';
    recorder.event(referenceTo(persistentvolumeclaims, claim), type, 'ExternalExpanding', message);
  }

  return queueController(context.name, queue, sync, { concurrency: 1 });
}
