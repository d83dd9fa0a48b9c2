// Volumes that somebody has to attach to this node before they can be used here: told as in use first, so that nobody
// detaches them, then waited for (pkg/kubelet/volumemanager/reconciler: waitForVolumeAttach).
import type { Node } from '#kube/api/generated/core-v1.ts';
import { nodes, volumeattachments } from '#kube/api/generated/resources.ts';
import type { ApiClient } from '#kube/client/types.ts';
import { isNotFound } from '#kube/errors/status-error.ts';
import type { Clock } from '#kube/process/clock.ts';
import { VolumeError } from '../payload.ts';
import { attachmentName, uniqueVolumeName } from './csi-paths.ts';

const pollMs = 500;
/** How long one look at a pod waits at most. */
const patienceMs = 120_000;

/** A volume by its driver's name and its handle. */
export interface VolumeIdentity {
  driver: string;
  handle: string;
}

export interface Attachments {
  /** Waits until the volume is attached and answers what its driver has to know about that. Throws VolumeError. */
  waitFor(
    volume: VolumeIdentity,
    signal: AbortSignal,
    progress: (waitingFor: string) => void,
  ): Promise<Record<string, string>>;
  /** Nothing on this node uses the volume any more: it may be detached. */
  release(volume: VolumeIdentity): Promise<void>;
}

/** Creates the view of this node's attachments; `held` finds volumes that were in use before the agent started. */
export function createAttachments(
  client: ApiClient,
  nodeName: string,
  clock: Clock,
  held: () => Promise<VolumeIdentity[]>,
): Attachments {
  const inUse = new Set<string>();
  let known: Promise<void> | undefined;

  function recall(): Promise<void> {
    known ??= held().then((volumes) => {
      for (const { driver, handle } of volumes) inUse.add(uniqueVolumeName(driver, handle));
    });
    return known;
  }

  async function tell(node: Node): Promise<void> {
    const told = node.status?.volumesInUse ?? [];
    const wanted = [...inUse].sort();
    if (told.length === wanted.length && wanted.every((name) => told.includes(name))) return;
    const patch = { status: { volumesInUse: wanted } };
    await client.patch(nodes, { name: nodeName }, 'merge', patch, { subresource: 'status' });
  }

  async function contextOf({ driver, handle }: VolumeIdentity): Promise<Record<string, string> | undefined> {
    try {
      const name = attachmentName(handle, driver, nodeName);
      const { status } = await client.get(volumeattachments, { name });
      return status?.attached === true ? (status.attachmentMetadata ?? {}) : undefined;
    } catch (error) {
      if (isNotFound(error)) return undefined;
      throw error;
    }
  }

  return {
    async waitFor(volume, signal, progress) {
      await recall();
      const name = uniqueVolumeName(volume.driver, volume.handle);
      inUse.add(name);
      const giveUpMs = clock.monotonicMs() + patienceMs;
      for (;;) {
        const node = await client.get(nodes, { name: nodeName }, { signal });
        await tell(node);
        const isAttached = node.status?.volumesAttached?.some((attached) => attached.name === name) === true;
        const context = isAttached ? await contextOf(volume) : undefined;
        if (context !== undefined) return context;
        if (clock.monotonicMs() > giveUpMs) {
          const message = `timed out waiting for external-attacher of ${volume.driver} CSI driver to attach volume ${volume.handle}`;
          throw new VolumeError(message, { step: 'MountVolume.WaitForAttach failed' });
        }
        progress(`waiting for volume ${volume.handle} of driver ${volume.driver} to be attached to this node`);
        signal.throwIfAborted();
        await clock.sleep(pollMs, signal);
      }
    },
    async release({ driver, handle }) {
      await recall();
      if (!inUse.delete(uniqueVolumeName(driver, handle))) return;
      await tell(await client.get(nodes, { name: nodeName }));
    },
  };
}
