// Enforces NetworkPolicy for the pods of this node: follows policies, pods and namespaces, and applies what changed.
// Without any policy in the cluster it watches no pods and has no rules.
import type { Logger } from 'pino';
import type { Namespace, Node, Pod } from '#kube/api/generated/core-v1.ts';
import type { NetworkPolicy } from '#kube/api/generated/networking-v1.ts';
import type { Informer } from '#kube/informer/types.ts';
import type { Clock } from '#kube/process/clock.ts';
import { type Component, runGroup } from '#kube/process/component.ts';
import { backoffDelayMs } from '#kube/queue/backoff.ts';
import { createBurstLimiter } from '../apply/burst-limiter.ts';
import { createWaker } from '../apply/waker.ts';
import type { PolicyMetrics } from '../network-metrics.ts';
import { networkNodeOf } from '../pod-network/network-node.ts';
import type { PolicyApplier } from './policy-applier.ts';
import { policyPodOf } from './policy-pod.ts';
import { createPolicyState } from './policy-state.ts';

const retry = { initialMs: 500, maxMs: 30_000 };
/** How often it is looked whether the rules are still there. */
const periodMs = 30_000;
/** Changes are applied two at once, and then all of such a period together. */
const gatherMs = 200;
const tidyMs = 2000;

export interface NetworkPolicyDependencies {
  nodeName: string;
  /** That pods of this node hang on. */
  bridge: string;
  policies: Informer<NetworkPolicy>;
  pods: Informer<Pod>;
  namespaces: Informer<Namespace>;
  nodes: Pick<Informer<Node>, 'get' | 'subscribe' | 'synced'>;
  applier: PolicyApplier;
  metrics: PolicyMetrics;
  clock: Clock;
  logger: Logger;
}

function keyOf({ metadata: { namespace = '', name } }: Pod | NetworkPolicy): string {
  return `${namespace}/${name}`;
}

/** Runs the informers of policies, pods and namespaces; that of nodes is run by whoever made it. */
export function createNetworkPolicy(dependencies: NetworkPolicyDependencies): Component {
  const { nodeName, bridge, policies, pods, namespaces, nodes, applier, metrics, clock, logger } = dependencies;
  const state = createPolicyState();
  const waker = createWaker(clock);
  const limiter = createBurstLimiter(gatherMs);
  const first = Promise.withResolvers<void>();

  function follow(): void {
    const placePod = (pod: Pod): void => {
      state.setPod(keyOf(pod), policyPodOf(pod, nodeName));
      waker.wake();
    };
    const facts = (pod: Pod): string => JSON.stringify(policyPodOf(pod, nodeName) ?? null);
    pods.subscribe({
      added: placePod,
      updated: (previous, current) => {
        if (facts(previous) !== facts(current)) placePod(current);
      },
      deleted: (pod) => {
        state.setPod(keyOf(pod), undefined);
        waker.wake();
      },
    });
    const placeNamespace = ({ metadata: { name, labels = {} } }: Namespace): void => {
      state.setNamespace(name, labels);
      waker.wake();
    };
    namespaces.subscribe({
      added: placeNamespace,
      updated: (previous, current) => {
        if (JSON.stringify(previous.metadata.labels) !== JSON.stringify(current.metadata.labels))
          placeNamespace(current);
      },
      deleted: ({ metadata: { name } }) => {
        state.setNamespace(name, undefined);
        waker.wake();
      },
    });
  }

  function followPolicies(): void {
    const place = (policy: NetworkPolicy): void => {
      state.setPolicy(policy);
      waker.wake();
    };
    policies.subscribe({
      added: place,
      updated: (previous, current) => {
        if (JSON.stringify(previous.spec) !== JSON.stringify(current.spec)) place(current);
      },
      deleted: (policy) => {
        state.removePolicy(keyOf(policy));
        waker.wake();
      },
    });
  }

  const podRanges = (): string[] => {
    const node = nodes.get(nodeName);
    return node === undefined ? [] : networkNodeOf(node).podCIDRs;
  };

  async function sync(): Promise<void> {
    metrics.counted(state.policyCount);
    if (state.policyCount === 0) {
      await applier.remove();
      return;
    }
    const startedMs = clock.monotonicMs();
    const { lines } = await applier.apply(state.compute(), { podCIDRs: podRanges(), bridge });
    if (lines > 0) {
      limiter.take(clock.monotonicMs());
      const durationMs = Math.round(clock.monotonicMs() - startedMs);
      metrics.applied(durationMs);
      logger.debug({ policies: state.policyCount, lines, durationMs }, 'applied network policies');
    }
  }

  async function verify(): Promise<void> {
    if (state.policyCount === 0 || (await applier.isIntact())) return;
    logger.warn('the rules of network policies were removed by someone else; writing all of them again');
  }

  async function loop(signal: AbortSignal): Promise<void> {
    let failures = 0;
    let nextCheckMs = clock.monotonicMs() + periodMs;
    while (!signal.aborted) {
      let waitMs = tidyMs;
      try {
        if (clock.monotonicMs() >= nextCheckMs && failures === 0) {
          nextCheckMs = clock.monotonicMs() + periodMs;
          await verify();
        }
        await sync();
        failures = 0;
        first.resolve();
      } catch (error) {
        failures += 1;
        metrics.failed();
        waitMs = backoffDelayMs(failures, retry);
        logger.error({ err: error, failures }, 'network policies are not enforced as they should be; trying again');
      }
      const isWoken = await waitFor(waitMs, signal);
      if (!isWoken && failures === 0) {
        await applier.tidy().catch((error: unknown) => logger.debug({ err: error }, 'cannot delete what was emptied'));
        await waitFor(Math.max(0, nextCheckMs - clock.monotonicMs()), signal);
      }
      await clock.sleep(limiter.delayMs(clock.monotonicMs()), signal).catch(() => undefined);
    }
  }

  /** True when something changed before the time was over. */
  async function waitFor(delayMs: number, signal: AbortSignal): Promise<boolean> {
    const startedMs = clock.monotonicMs();
    await waker.wait(delayMs, signal);
    return clock.monotonicMs() - startedMs < delayMs;
  }

  async function until(promises: readonly Promise<void>[], signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    signal.addEventListener('abort', () => resolve(), { once: true });
    if (!signal.aborted) await Promise.race([Promise.all(promises), promise]);
  }

  const enforcement: Pick<Component, 'run'> = {
    run: async (signal) => {
      await until([policies.synced, nodes.synced], signal);
      followPolicies();
      nodes.subscribe({ added: () => waker.wake(), updated: (_, node) => changedRange(node) });
      while (!signal.aborted && state.policyCount === 0) {
        // Rules of a proxy before this one, under which policies were deleted.
        await applier
          .remove()
          .catch((error: unknown) => logger.error({ err: error }, 'cannot remove network policies'));
        first.resolve();
        await waker.wait(periodMs, signal);
      }
      if (signal.aborted) return;
      logger.info('the cluster has network policies: following its pods');
      const enforce: Pick<Component, 'run'> = {
        run: async (ended) => {
          await until([pods.synced, namespaces.synced], ended);
          if (ended.aborted) return;
          follow();
          await loop(ended);
        },
      };
      await runGroup([pods, namespaces, enforce], signal);
    },
  };
  let range = '';
  function changedRange(node: Node): void {
    if (node.metadata.name !== nodeName || `${podRanges()}` === range) return;
    range = `${podRanges()}`;
    waker.wake();
  }

  return { ready: first.promise, run: async (signal) => runGroup([policies, enforcement], signal) };
}
