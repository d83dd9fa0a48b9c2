// Watches over nodes: marks the silent ones Unknown, keeps taints in line with conditions, and tells pods of a node
// that is lost that they are not ready.
import { findCondition, withCondition } from '#kube/api/conditions.ts';
import type { Node, NodeCondition } from '#kube/api/generated/core-v1.ts';
import { nodes, pods } from '#kube/api/generated/resources.ts';
import { isPodReady } from '#kube/api/pod-state.ts';
import { formatTime } from '#kube/api/time.ts';
import { isConflict, isNotFound } from '#kube/errors/status-error.ts';
import { referenceTo } from '#kube/events/event-recorder.ts';
import { type Controller, type ControllerContext, createControllerQueue } from '../controller.ts';
import { byNode } from '../shared-informers.ts';
import { createEvictionBudget, isFullyDisrupted } from './disruption.ts';
import { type Heartbeat, type HeartbeatLimits, observeHeartbeat, planSilence } from './plan-heartbeat.ts';
import { planTaints, readyStatus } from './plan-taints.ts';

const monitorPeriodMs = 5_000;

/** Upstream's defaults. */
export const defaultHeartbeatLimits: HeartbeatLimits = { graceMs: 50_000, startupGraceMs: 60_000 };

/** Looks at every node each five seconds, and whenever it changes. */
export function createNodeLifecycleController(context: ControllerContext, limits: HeartbeatLimits): Controller {
  const { informers, client, recorder, clock, logger } = context;
  const queue = createControllerQueue(context);
  const heartbeats = new Map<string, Heartbeat>();
  const budget = createEvictionBudget();
  /** Nodes whose pods were told already; an agent that lives decides about its pods itself after that. */
  const podsTold = new Set<string>();

  const look = (node: Node) => {
    const { name } = node.metadata;
    const lease = informers.leases.get(`kube-node-lease/${name}`);
    heartbeats.set(name, observeHeartbeat(heartbeats.get(name), node, lease, clock.monotonicMs()));
    queue.add(name);
  };
  informers.nodes.subscribe({
    added: (node) => {
      look(node);
      const { name } = node.metadata;
      const message = `Node ${name} event: Registered Node ${name} in Controller`;
      recorder.event(referenceTo(nodes, node), 'Normal', 'RegisteredNode', message);
    },
    updated: (_, node) => look(node),
    deleted: (node) => {
      const { name } = node.metadata;
      heartbeats.delete(name);
      podsTold.delete(name);
      const message = `Node ${name} event: Removing Node ${name} from Controller`;
      recorder.event(referenceTo(nodes, node), 'Normal', 'RemovingNode', message);
    },
  });

  /** Pods of a lost node are not ready: services stop sending to them. */
  async function markPodsNotReady(node: Node): Promise<void> {
    for (const pod of informers.pods.byIndex(byNode, node.metadata.name)) {
      const ready = findCondition(pod.status?.conditions, 'Ready');
      if (ready === undefined || !isPodReady(pod)) continue;
      const { namespace, name } = pod.metadata;
      const condition = { ...ready, status: 'False', lastTransitionTime: formatTime(clock.now()) };
      const conditions = withCondition(pod.status?.conditions, condition);
      try {
        await client.patch(
          pods,
          { namespace, name },
          'strategic',
          { status: { conditions } },
          { subresource: 'status' },
        );
        recorder.event(referenceTo(pods, pod), 'Warning', 'NodeNotReady', 'Node is not ready');
      } catch (error) {
        if (!isNotFound(error)) throw error;
      }
    }
  }

  async function syncPods(node: Node): Promise<void> {
    const { name } = node.metadata;
    const ready = readyStatus(node);
    if (ready === 'True') podsTold.delete(name);
    if (ready === 'True' || findCondition(node.status?.conditions, 'Ready') === undefined) return;
    if (podsTold.has(name) && ready !== 'Unknown') return;
    if (!podsTold.has(name)) {
      const message = `Node ${name} status is now: NodeNotReady`;
      recorder.event(referenceTo(nodes, node), 'Normal', 'NodeNotReady', message);
    }
    podsTold.add(name);
    await markPodsNotReady(node);
  }

  async function writeConditions(node: Node, conditions: NodeCondition[]): Promise<void> {
    logger.warn({ node: node.metadata.name }, 'node stopped reporting');
    await client.updateSubresource(nodes, { ...node, status: { ...node.status, conditions } }, 'status');
  }

  async function syncTaints(node: Node): Promise<void> {
    const hasEvicting = (node.spec?.taints ?? []).some(({ effect }) => effect === 'NoExecute');
    // Looking at all the others is left to nodes that are in trouble.
    const all = readyStatus(node) === 'True' ? [] : informers.nodes.list();
    const evicting = all.length > 0 && !isFullyDisrupted(all);
    const mayEvict = evicting && !hasEvicting && budget.take(node, all, clock.monotonicMs());
    const taints = planTaints(node, mayEvict, clock.now());
    if (taints === undefined) return;
    const { name, resourceVersion } = node.metadata;
    const patch = { metadata: { resourceVersion }, spec: { taints: taints.length === 0 ? null : taints } };
    await client.patch(nodes, { name }, 'merge', patch);
  }

  /** Each node is looked at again after the monitor's period, and whenever it changes. */
  async function sync(name: string): Promise<void | { requeueAfterMs: number }> {
    const node = informers.nodes.get(name);
    if (node === undefined) return;
    const nowMs = clock.monotonicMs();
    const lease = informers.leases.get(`kube-node-lease/${name}`);
    const heartbeat = observeHeartbeat(heartbeats.get(name), node, lease, nowMs);
    heartbeats.set(name, heartbeat);
    try {
      const silence = planSilence(node, heartbeat, limits, nowMs, clock.now());
      if (silence !== undefined) {
        await writeConditions(node, silence);
        // The informer's next version of the node is not a sign of life.
        const current = { ...node, status: { ...node.status, conditions: silence } };
        heartbeats.set(name, { ...observeHeartbeat(undefined, current, lease, nowMs), atMs: heartbeat.atMs });
      }
      await syncTaints(node);
    } catch (error) {
      if (isConflict(error) || isNotFound(error)) return { requeueAfterMs: 50 };
      throw error;
    }
    await syncPods(node);
    return { requeueAfterMs: monitorPeriodMs };
  }

  return { name: context.name, run: async (signal) => queue.run(sync, { concurrency: 4, signal }) };
}
