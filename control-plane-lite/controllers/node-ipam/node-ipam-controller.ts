// Gives every node its range of pod addresses.
import type { Node } from '#kube/api/generated/core-v1.ts';
import { nodes } from '#kube/api/generated/resources.ts';
import { isNotFound } from '#kube/errors/status-error.ts';
import { referenceTo } from '#kube/events/event-recorder.ts';
import { type Controller, type ControllerContext, createControllerQueue, queueController } from '../controller.ts';
import { createCidrAllocator } from './cidr-allocator.ts';

/** How long a node waits when all ranges are taken. */
const exhaustedRetryMs = 30_000;

/** `clusterCidr`: one range, or one of each family separated by a comma. */
export function createNodeIpamController(
  context: ControllerContext,
  clusterCidr: string,
  nodePrefix: { ipv4: number; ipv6: number } = { ipv4: 24, ipv6: 64 },
): Controller {
  const { informers, client, recorder, logger } = context;
  const queue = createControllerQueue(context);
  const allocators = clusterCidr
    .split(',')
    .map((cidr) => createCidrAllocator(cidr.trim(), cidr.includes(':') ? nodePrefix.ipv6 : nodePrefix.ipv4));
  /** Written and not yet seen in the informer. */
  const assigned = new Map<string, string[]>();

  const rangesOf = ({ metadata, spec }: Node) =>
    spec?.podCIDRs ?? (spec?.podCIDR === undefined ? (assigned.get(metadata.name) ?? []) : [spec.podCIDR]);
  const occupy = (node: Node) => {
    for (const cidr of rangesOf(node)) for (const allocator of allocators) allocator.occupy(cidr);
  };
  informers.nodes.subscribe({
    added: (node) => {
      occupy(node);
      queue.add(node.metadata.name);
    },
    updated: (_, node) => {
      occupy(node);
      if (rangesOf(node).length === 0) queue.add(node.metadata.name);
    },
    deleted: (node) => {
      for (const cidr of rangesOf(node)) for (const allocator of allocators) allocator.release(cidr);
      assigned.delete(node.metadata.name);
    },
  });

  async function sync(name: string): Promise<void | { requeueAfterMs: number }> {
    const node = informers.nodes.get(name);
    if (node === undefined || rangesOf(node).length > 0) return;
    const ranges = allocators.map((allocator) => allocator.allocate());
    const release = () => {
      for (const [index, cidr] of ranges.entries()) if (cidr !== undefined) allocators[index]?.release(cidr);
    };
    const podCIDRs = ranges.filter((cidr) => cidr !== undefined);
    if (podCIDRs.length < ranges.length) {
      release();
      const message = `Node ${name} status is now: CIDRNotAvailable`;
      recorder.event(referenceTo(nodes, node), 'Normal', 'CIDRNotAvailable', message);
      logger.warn({ node: name }, `no pod range of ${clusterCidr} is free`);
      return { requeueAfterMs: exhaustedRetryMs };
    }
    try {
      await client.patch(nodes, { name }, 'merge', { spec: { podCIDR: podCIDRs[0], podCIDRs } });
      assigned.set(name, podCIDRs);
    } catch (error) {
      release();
      if (!isNotFound(error)) throw error;
    }
  }

  // One worker: two nodes never compete for a range.
  return queueController(context.name, queue, sync, { concurrency: 1 });
}
