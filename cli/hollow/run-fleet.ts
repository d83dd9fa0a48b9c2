// Runs the agents of all hollow nodes in one process: each registers, renews its lease and watches its own pods; they
// share connections and one queue of work.
import { setMaxListeners } from 'node:events';
import type { Logger } from 'pino';
import { nodes, pods } from '#kube/api/generated/resources.ts';
import { objectKey } from '#kube/api/resource.ts';
import type { ApiClient } from '#kube/client/types.ts';
import { isConflict, isNotFound } from '#kube/errors/status-error.ts';
import { createInformer } from '#kube/informer/create-informer.ts';
import type { Clock } from '#kube/process/clock.ts';
import { UsageError } from '#kube/process/flags.ts';
import { createWorkQueue } from '#kube/queue/work-queue.ts';
import { createNodeReporter } from '../../agent/node/node-reporter.ts';
import { fleetLabel, type HollowNode, hollowNode, hollowNodeStatus, podAddress } from './hollow-node.ts';
import type { FleetOptions } from './options.ts';
import { planHollowPod } from './plan-hollow-pod.ts';

export interface FleetDeps {
  /** For pods. */
  client: ApiClient;
  /** For nodes and leases, shared out among them, with connections of their own: a heartbeat waits for no pod. */
  heartbeats: readonly ApiClient[];
  clock: Clock;
  logger: Logger;
}

/** Told once. */
export interface FleetProgress {
  registered(count: number): void;
}

/** Nodes begin this far apart, so that their heartbeats do not come all at once. */
const nodesPerSecond = 1000;
const podsAtOnce = 16;
/** As kubelet's nodeStatusReportFrequency and nodeLeaseDurationSeconds. */
const reportPeriodMs = 300_000;
const leaseDurationSeconds = 40;

interface PodWork {
  node: HollowNode;
  key: string;
}

/** Throws UsageError when a node of that name is there which is no hollow one. */
export async function checkNames(client: ApiClient, { namePrefix }: FleetOptions): Promise<void> {
  const { items } = await client.list(nodes);
  const pattern = new RegExp(`^${namePrefix.replaceAll('.', '\\.')}-\\d+$`);
  for (const { metadata } of items) {
    if (!pattern.test(metadata.name) || metadata.labels?.[fleetLabel] === namePrefix) continue;
    throw new UsageError(`node ${metadata.name} is there and is not hollow: choose another --name-prefix`);
  }
}

/** Removes the nodes of a fleet; what was on them goes as with any node that is gone. */
export async function removeFleet(
  client: ApiClient,
  { namePrefix }: FleetOptions,
  signal?: AbortSignal,
): Promise<void> {
  await client.deleteCollection(nodes, { labelSelector: `${fleetLabel}=${namePrefix}`, signal });
}

/** Runs until the signal is aborted; pods and nodes stay as they are then. */
export async function runFleet(
  deps: FleetDeps,
  options: FleetOptions,
  progress: FleetProgress,
  signal: AbortSignal,
): Promise<void> {
  const { client, heartbeats, clock, logger } = deps;
  setMaxListeners(0, signal);
  const queue = createWorkQueue<string>({ clock, logger, maxDelayMs: 10_000 });
  /** What a key of the queue stands for, while its pod is there. */
  const work = new Map<string, PodWork & { podIP: string; get: () => ReturnType<typeof informerOf> }>();
  let registered = 0;

  function informerOf(node: HollowNode) {
    return createInformer({ client, resource: pods, fieldSelector: `spec.nodeName=${node.name}`, clock, logger });
  }

  function watchPods(node: HollowNode) {
    const informer = informerOf(node);
    let serial = 0;
    informer.subscribe({
      added(pod) {
        const key = `${node.name} ${objectKey(pod)}`;
        serial += 1;
        const podIP = podAddress(node.index, serial);
        work.set(key, { node, key: objectKey(pod), podIP, get: () => informer });
        queue.add(key);
      },
      updated: (_, pod) => queue.add(`${node.name} ${objectKey(pod)}`),
      deleted: (pod) => void work.delete(`${node.name} ${objectKey(pod)}`),
    });
    return informer;
  }

  async function sync(queueKey: string): Promise<void> {
    const entry = work.get(queueKey);
    const pod = entry?.get().get(entry.key);
    if (entry === undefined || pod === undefined) return;
    const { namespace, name, uid } = pod.metadata;
    const { podIP, node } = entry;
    const facts = { nowMs: clock.now(), hostIP: node.address, podIP, startDelayMs: options.startDelayMs };
    const action = planHollowPod(pod, facts);
    try {
      switch (action.type) {
        case 'none':
          return;
        case 'wait':
          queue.addAfter(queueKey, action.delayMs);
          return;
        case 'status': {
          const patch = { metadata: { uid }, status: action.status };
          await client.patch(pods, { namespace, name }, 'strategic', patch, { subresource: 'status', signal });
          return;
        }
        case 'delete':
          await client.delete(pods, { namespace, name }, { gracePeriodSeconds: 0, preconditions: { uid } }, { signal });
          return;
        default:
          action satisfies never;
      }
    } catch (error) {
      if (isNotFound(error) || isConflict(error) || signal.aborted) return;
      throw error;
    }
  }

  async function runNode(index: number): Promise<void> {
    await clock.sleep((index * 1000) / nodesPerSecond, signal).catch(() => undefined);
    if (signal.aborted) return;
    const node = hollowNode(options, index);
    const reporter = createNodeReporter({
      client: heartbeats[index % heartbeats.length] ?? client,
      clock,
      logger,
      nodeName: node.name,
      register: true,
      ownLabels: node.labels,
      labels: {},
      annotations: { 'volumes.kubernetes.io/controller-managed-attach-detach': 'true' },
      taints: options.taints,
      providerId: undefined,
      status: async (previous) => hollowNodeStatus(node, options, previous?.status, clock.now()),
      updatePeriodMs: reportPeriodMs,
      reportPeriodMs,
      leaseDurationSeconds,
    });
    void reporter.ready.then(() => {
      registered += 1;
      progress.registered(registered);
    });
    await Promise.all([reporter.run(signal), watchPods(node).run(signal)]);
  }

  const agents = Array.from({ length: options.count }, (_, index) => runNode(index));
  await Promise.all([...agents, queue.run(sync, { concurrency: podsAtOnce, signal })]);
}
