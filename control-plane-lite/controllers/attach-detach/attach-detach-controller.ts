// Asks the attachers of CSI drivers to attach volumes to the nodes of the pods that need them, and tells the nodes when
// that is done. What is attached elsewhere waits; what nobody uses is let go.
import { createHash } from 'node:crypto';
import type { Pod } from '#kube/api/generated/core-v1.ts';
import { nodes, pods as podResource, volumeattachments } from '#kube/api/generated/resources.ts';
import { isAlreadyExists, isNotFound } from '#kube/errors/status-error.ts';
import { referenceTo } from '#kube/events/event-recorder.ts';
import { type Controller, type ControllerContext, createControllerQueue, queueController } from '../controller.ts';
import { sameJson } from '../same-json.ts';
import {
  type AttachmentInputs,
  attachedVolumes,
  planAttachments,
  type WantedAttachment,
  wantedAttachments,
} from './plan-attachments.ts';

const all = 'all';
/** How often volumes of nodes that do not let go of them are looked at. */
const heldCheckMs = 60_000;

/** The name by which attacher, controller and node know an attachment. */
export function attachmentName(handle: string, driver: string, node: string): string {
  return `csi-${createHash('sha256').update(`${handle}${driver}${node}`).digest('hex')}`;
}

/** Creates the controller. */
export function createAttachDetachController(context: ControllerContext): Controller {
  const { informers, client, recorder, clock } = context;
  const queue = createControllerQueue<string>(context);
  /** Told once, not with every look. */
  const told = new Set<string>();
  const look = () => queue.add(all);
  const hasClaims = (pod: Pod) =>
    (pod.spec.volumes ?? []).some(
      ({ persistentVolumeClaim, ephemeral }) => persistentVolumeClaim !== undefined || ephemeral !== undefined,
    );
  const podChanged = (pod: Pod) => {
    if (hasClaims(pod)) look();
  };
  informers.pods.subscribe({ added: podChanged, updated: (_, pod) => podChanged(pod), deleted: podChanged });
  informers.volumeattachments.subscribe({ added: look, updated: look, deleted: look });
  informers.persistentvolumes.subscribe({ added: look, updated: look });
  informers.persistentvolumeclaims.subscribe({ updated: look });
  informers.csidrivers.subscribe({ added: look, updated: look });
  informers.nodes.subscribe({
    added: look,
    deleted: look,
    updated: (before, after) => {
      if (!sameJson(before.status?.volumesInUse, after.status?.volumesInUse)) look();
    },
  });

  function inputs(): AttachmentInputs {
    return {
      pods: informers.pods.list().filter(hasClaims),
      claim: (namespace, name) => informers.persistentvolumeclaims.get(`${namespace}/${name}`),
      volume: (name) => informers.persistentvolumes.get(name),
      driver: (name) => informers.csidrivers.get(name),
      node: (name) => informers.nodes.get(name),
      attachments: informers.volumeattachments.list(),
      nameOf: attachmentName,
      nowMs: clock.now(),
    };
  }

  async function attach({ name, driver, node, volume }: WantedAttachment, signal: AbortSignal): Promise<void> {
    const spec = { attacher: driver, nodeName: node, source: { persistentVolumeName: volume } };
    await client
      .create(volumeattachments, undefined, { metadata: { name }, spec }, { signal })
      .catch((error: unknown) => {
        if (!isAlreadyExists(error)) throw error;
      });
  }

  /** Events about what the attacher did, each once. */
  function tellResults(plan: AttachmentInputs, wanted: Iterable<WantedAttachment>): void {
    for (const want of wanted) {
      const status = plan.attachments.find(({ metadata }) => metadata.name === want.name)?.status;
      const message =
        status?.attachError === undefined
          ? `AttachVolume.Attach succeeded for volume "${want.volume}" `
          : `AttachVolume.Attach failed for volume "${want.volume}" : ${status.attachError.message ?? ''}`;
      if (status === undefined || (status.attached !== true && status.attachError === undefined)) continue;
      const key = `${want.name} ${want.pod.metadata.uid} ${message}`;
      if (told.has(key)) continue;
      told.add(key);
      const [type, reason] =
        status.attachError === undefined ? ['Normal', 'SuccessfulAttachVolume'] : ['Warning', 'FailedAttachVolume'];
      recorder.event(
        referenceTo(podResource, want.pod),
        type === 'Normal' ? 'Normal' : 'Warning',
        reason ?? '',
        message,
      );
    }
  }

  async function tellNodes(now: AttachmentInputs, signal: AbortSignal): Promise<void> {
    const named = new Set(now.attachments.map(({ spec }) => spec.nodeName));
    for (const node of informers.nodes.list()) {
      if (!named.has(node.metadata.name) && (node.status?.volumesAttached ?? []).length === 0) continue;
      const volumesAttached = attachedVolumes(node.metadata.name, now);
      if (sameJson(volumesAttached, node.status?.volumesAttached ?? [])) continue;
      const patch = { status: { volumesAttached } };
      await client
        .patch(nodes, { name: node.metadata.name }, 'merge', patch, { subresource: 'status', signal })
        .catch((error: unknown) => {
          if (!isNotFound(error)) throw error;
        });
    }
  }

  async function sync(_: string, signal: AbortSignal): Promise<void | { requeueAfterMs: number }> {
    const now = inputs();
    const plan = planAttachments(now);
    for (const { wanted, by } of plan.blocked) {
      const key = `${wanted.name} ${wanted.pod.metadata.uid} ${by}`;
      if (told.has(key)) continue;
      told.add(key);
      const message = `Multi-Attach error for volume "${wanted.volume}" Volume is already exclusively attached to one node and can't be attached to another`;
      recorder.event(referenceTo(podResource, wanted.pod), 'Warning', 'FailedAttachVolume', message);
    }
    for (const wanted of plan.attach) await attach(wanted, signal);
    // The node learns first that the volume is no longer for it.
    const leaving = new Set(plan.detach.map(({ metadata }) => metadata.name));
    const staying = now.attachments.filter(({ metadata }) => !leaving.has(metadata.name));
    await tellNodes({ ...now, attachments: staying }, signal);
    for (const { metadata } of plan.detach) {
      await client.delete(volumeattachments, { name: metadata.name }, undefined, { signal }).catch((error: unknown) => {
        if (!isNotFound(error)) throw error;
      });
    }
    tellResults(now, wantedOf(now));
    if (told.size > 10_000) told.clear();
    // A node that fell silent says nothing any more: somebody has to look at the clock.
    if (staying.length > wantedAttachments(now).size) return { requeueAfterMs: heldCheckMs };
  }

  return queueController(context.name, queue, sync, { concurrency: 1 });
}

function wantedOf(inputs: AttachmentInputs): Iterable<WantedAttachment> {
  return planAttachments({ ...inputs, attachments: [] }).attach;
}
