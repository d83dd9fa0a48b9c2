// Keeps the Node object and the node's Lease: registers, reports the status when it changes or has aged, renews.
import { isDeepStrictEqual } from 'node:util';
import type { Logger } from 'pino';
import type { Lease } from '#kube/api/generated/coordination-v1.ts';
import type { Node, NodeStatus, Taint } from '#kube/api/generated/core-v1.ts';
import { leases, nodes } from '#kube/api/generated/resources.ts';
import { formatMicroTime } from '#kube/api/time.ts';
import type { ApiClient } from '#kube/client/types.ts';
import { isAlreadyExists, isConflict, isNotFound } from '#kube/errors/status-error.ts';
import type { Clock } from '#kube/process/clock.ts';
import { planAdoption, presentOf, replacingAddresses } from './plan-registration.ts';

const leaseNamespace = 'kube-node-lease';
const registerRetryMs = 1000;
const registerRetryMaxMs = 7000;

export interface NodeReporterOptions {
  client: ApiClient;
  clock: Clock;
  logger: Logger;
  nodeName: string;
  register: boolean;
  /** What machine it is: set again when the agent starts. */
  ownLabels: Record<string, string>;
  /** Of the configuration: set when the node is new. */
  labels: Record<string, string>;
  /** Null: must not be there. */
  annotations: Record<string, string | null>;
  taints: readonly Taint[];
  providerId: string | undefined;
  /** The node as it is now; throws nothing. */
  status(previous: Node | undefined): Promise<NodeStatus>;
  updatePeriodMs: number;
  reportPeriodMs: number;
  leaseDurationSeconds: number;
}

export interface NodeReporter {
  /** The Node object as last seen. */
  node(): Node | undefined;
  /** Resolves when the node is registered. */
  readonly ready: Promise<void>;
  /** Reports at once, for a change that others wait for. */
  wake(): void;
  run(signal: AbortSignal): Promise<void>;
}

/** The status without the times that move with every heartbeat. */
function steady(status: NodeStatus | undefined): unknown {
  const conditions = status?.conditions?.map(({ lastHeartbeatTime: _, ...rest }) => rest);
  const { volumesInUse: _, ...rest } = status ?? {};
  return JSON.parse(JSON.stringify({ ...rest, conditions }));
}

/** Creates the reporter. */
export function createNodeReporter(options: NodeReporterOptions): NodeReporter {
  const { client, clock, logger, nodeName } = options;
  const registered = Promise.withResolvers<void>();
  let node: Node | undefined;
  let reportedAtMs = Number.NEGATIVE_INFINITY;
  let wakeUp = () => undefined as void;

  async function createNode(signal: AbortSignal): Promise<void> {
    const { labels, taints, providerId } = options;
    const draft = {
      apiVersion: 'v1',
      kind: 'Node',
      metadata: {
        name: nodeName,
        labels: { ...options.ownLabels, ...labels },
        annotations: presentOf(options.annotations),
      },
      spec: {
        ...(taints.length > 0 ? { taints: [...taints] } : {}),
        ...(providerId === undefined ? {} : { providerID: providerId }),
      },
      status: await options.status(undefined),
    };
    node = await client.create(nodes, undefined, draft, { signal });
    reportedAtMs = clock.monotonicMs();
    logger.info({ node: nodeName }, 'registered the node');
  }

  /** A node that is there keeps what others gave it; what says what machine it is, is set again. */
  async function adoptNode(signal: AbortSignal): Promise<void> {
    node = await client.get(nodes, { name: nodeName }, { signal });
    const { annotations = {}, labels = {} } = node.metadata;
    const patch = planAdoption(
      { labels, annotations },
      { labels: options.ownLabels, annotations: options.annotations },
    );
    if (patch === undefined) return;
    node = await client.patch(nodes, { name: nodeName }, 'strategic', { metadata: patch }, { signal });
  }

  async function register(signal: AbortSignal): Promise<void> {
    for (let delayMs = registerRetryMs; ; delayMs = Math.min(delayMs * 2, registerRetryMaxMs)) {
      try {
        if (options.register) {
          await createNode(signal).catch((error: unknown) => {
            if (!isAlreadyExists(error)) throw error;
            return adoptNode(signal);
          });
        } else node = await client.get(nodes, { name: nodeName }, { signal });
        registered.resolve();
        return;
      } catch (error) {
        signal.throwIfAborted();
        logger.warn({ err: error, node: nodeName }, 'cannot register the node, will retry');
        await clock.sleep(delayMs, signal);
      }
    }
  }

  async function report(signal: AbortSignal): Promise<void> {
    // As kubelet's heartbeats: one that a lost connection holds is given up before the next is due.
    const limits = { signal, timeoutMs: options.updatePeriodMs };
    const current = await client.get(nodes, { name: nodeName }, limits);
    const status = await options.status(current);
    const aged = clock.monotonicMs() - reportedAtMs >= options.reportPeriodMs;
    node = current;
    if (!aged && isDeepStrictEqual(steady({ ...current.status, ...status }), steady(current.status))) return;
    node = await client.patch(
      nodes,
      { name: nodeName },
      'strategic',
      { status: replacingAddresses(status) },
      { subresource: 'status', ...limits },
    );
    reportedAtMs = clock.monotonicMs();
  }

  async function reportForever(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        await report(signal);
      } catch (error) {
        if (signal.aborted) return;
        if (isNotFound(error) && options.register) await register(signal).catch(() => undefined);
        else logger.warn({ err: error, node: nodeName }, 'cannot report the status of the node');
      }
      const woken = Promise.withResolvers<void>();
      wakeUp = woken.resolve;
      const sleep = new AbortController();
      const timed = clock.sleep(options.updatePeriodMs, AbortSignal.any([signal, sleep.signal])).catch(() => undefined);
      await Promise.race([timed, woken.promise]);
      sleep.abort();
    }
  }

  function leaseDraft(previous: Lease | undefined) {
    const owner = node?.metadata.uid;
    const ownerReferences = owner === undefined ? [] : [{ apiVersion: 'v1', kind: 'Node', name: nodeName, uid: owner }];
    return {
      apiVersion: 'coordination.k8s.io/v1',
      kind: 'Lease',
      metadata: { ...previous?.metadata, name: nodeName, namespace: leaseNamespace, ownerReferences },
      spec: {
        ...previous?.spec,
        holderIdentity: nodeName,
        leaseDurationSeconds: options.leaseDurationSeconds,
        renewTime: formatMicroTime(clock.now()),
      },
    };
  }

  async function renewForever(signal: AbortSignal): Promise<void> {
    const periodMs = options.leaseDurationSeconds * 250;
    let lease: Lease | undefined;
    while (!signal.aborted) {
      try {
        const limits = { signal, timeoutMs: periodMs };
        if (lease === undefined) {
          lease = await client
            .get(leases, { namespace: leaseNamespace, name: nodeName }, limits)
            .catch((error: unknown) => {
              if (!isNotFound(error)) throw error;
              return client.create(leases, leaseNamespace, leaseDraft(undefined), limits);
            });
        }
        lease = await client.update(leases, leaseDraft(lease), limits);
      } catch (error) {
        if (!signal.aborted) logger.warn({ err: error, node: nodeName }, 'cannot renew the lease of the node');
        if (isConflict(error) || isNotFound(error)) lease = undefined;
      }
      await clock.sleep(periodMs, signal).catch(() => undefined);
    }
  }

  return {
    node: () => node,
    ready: registered.promise,
    wake: () => wakeUp(),
    async run(signal) {
      await register(signal).catch((error: unknown) => {
        if (!signal.aborted) throw error;
      });
      if (signal.aborted) return;
      await Promise.all([reportForever(signal), renewForever(signal)]);
    },
  };
}
