// The pod network of this node: follows Nodes, and keeps CNI configuration, routes, tunnel and rules equal to what they
// say. What is right is not touched, so that a start, or a second run, interrupts nothing.
import type { Logger } from 'pino';
import type { Node } from '#kube/api/generated/core-v1.ts';
import type { Informer } from '#kube/informer/types.ts';
import type { Clock } from '#kube/process/clock.ts';
import type { Component } from '#kube/process/component.ts';
import type { Exec } from '#kube/process/exec.ts';
import { backoffDelayMs } from '#kube/queue/backoff.ts';
import { createBurstLimiter } from '../apply/burst-limiter.ts';
import { createWaker } from '../apply/waker.ts';
import type { PodNetworkConfig } from '../config/pod-network-config.ts';
import type { IpFamily } from '../model/service-port.ts';
import type { PodNetworkMetrics } from '../network-metrics.ts';
import { readCniDirectory, writeCniFile } from './cni-files.ts';
import { applyForwarding } from './forwarding.ts';
import { applyRoutes } from './kernel-routes.ts';
import { readLinks } from './machine-links.ts';
import { familyOf, networkNodeOf } from './network-node.ts';
import { planCniConfig } from './plan-cni.ts';
import { planRoutes } from './plan-routes.ts';
import { applyPodRules, hasNat } from './pod-rules.ts';
import { hasPorts, removePodNetwork } from './remove-pod-network.ts';
import { applyVxlan } from './vxlan.ts';

const retry = { initialMs: 500, maxMs: 30_000 };
/** How often the kernel is compared with the plan; the machine tells nobody of an address that it gets or loses. */
const periodMs = 30_000;
/** Changes of many nodes are applied together: the first two at once, the others in such periods. */
const gatherMs = 1000;

export interface PodNetworkDependencies {
  config: PodNetworkConfig;
  nodeName: string;
  /** All nodes of the cluster. */
  nodes: Pick<Informer<Node>, 'get' | 'list' | 'subscribe' | 'synced'>;
  exec: Exec;
  clock: Clock;
  /** Where /proc is. */
  root: string;
  metrics: PodNetworkMetrics;
  logger: Logger;
}

/** What the network takes from a node, to compare. */
function factsOf(node: Node): string {
  return JSON.stringify(networkNodeOf(node));
}

export function createPodNetwork({
  config,
  nodeName,
  nodes,
  exec,
  clock,
  root,
  metrics,
  logger,
}: PodNetworkDependencies): Component {
  const first = Promise.withResolvers<void>();
  const waker = createWaker(clock);
  const limiter = createBurstLimiter(gatherMs);
  let told = '';

  /** Says a thing once, until something else is to be said. */
  function tell(facts: object, text: string): void {
    const line = JSON.stringify([facts, text]);
    if (line !== told) logger.warn(facts, text);
    told = line;
  }

  /** Whether another network has the node, which then keeps it. */
  async function isForeign(): Promise<boolean> {
    const { own, foreign } = await readCniDirectory(config.cniConfDir);
    if (foreign.length === 0) return false;
    if (own !== undefined && hasPorts(await readLinks(exec), config.bridge)) {
      tell({ foreign }, 'another network was configured: pods that run keep the one they have, new ones get the other');
      return false;
    }
    if (own !== undefined) await removePodNetwork(exec, config.cniConfDir);
    tell({ foreign, directory: config.cniConfDir }, 'another network is configured on this node and is left alone');
    return true;
  }

  async function selectNatFamilies(families: readonly IpFamily[]): Promise<IpFamily[]> {
    const usable: IpFamily[] = [];
    for (const family of families) {
      if (await hasNat(exec, family)) usable.push(family);
      else tell({ family }, 'the kernel cannot masquerade this family: its pods are not masqueraded');
    }
    return usable;
  }

  async function sync(): Promise<void> {
    const node = nodes.get(nodeName);
    const own = node === undefined ? undefined : networkNodeOf(node);
    if (own === undefined || own.podCIDRs.length === 0) {
      logger.info({ node: nodeName }, 'the node has no pod range yet');
      return;
    }
    if (await isForeign()) {
      first.resolve();
      return;
    }
    const families = [...new Set(own.podCIDRs.map(familyOf))];
    limiter.take(clock.monotonicMs());
    await applyForwarding(exec, families, root);
    const plan = planRoutes({
      own,
      others: nodes.list().map(networkNodeOf),
      links: await readLinks(exec),
      podDevices: [config.bridge],
      mtu: config.mtu,
    });
    for (const family of await selectNatFamilies(families)) await applyPodRules(exec, family, config.clusterCIDRs);
    const { bridge, ipamDir, cniConfDir } = config;
    const text = planCniConfig({ podCIDRs: own.podCIDRs, bridge, ipamDir, mtu: plan.mtu });
    const { own: written, foreign } = await readCniDirectory(cniConfDir);
    if (written !== text && foreign.length === 0) {
      await writeCniFile(cniConfDir, text);
      logger.info({ podCIDRs: own.podCIDRs, mtu: plan.mtu, directory: cniConfDir }, 'configured the network of pods');
    }
    // After what pods of this node need among themselves: they have it even if the way to others cannot be made.
    await applyVxlan(exec, plan.vxlan, { id: config.vxlanId, port: config.vxlanPort });
    await applyRoutes(exec, families, plan.routes, logger);
    metrics.synced(plan.routes.length);
    first.resolve();
  }

  return {
    ready: first.promise,
    run: async (signal) => {
      const { promise: ended, resolve: end } = Promise.withResolvers<void>();
      signal.addEventListener('abort', () => end(), { once: true });
      await Promise.race([nodes.synced, ended]);
      nodes.subscribe({
        added: () => waker.wake(),
        updated: (previous, current) => {
          if (factsOf(previous) !== factsOf(current)) waker.wake();
        },
        deleted: () => waker.wake(),
      });
      let failures = 0;
      while (!signal.aborted) {
        await clock.sleep(limiter.delayMs(clock.monotonicMs()), signal).catch(() => undefined);
        if (signal.aborted) return;
        try {
          await sync();
          failures = 0;
        } catch (error) {
          failures += 1;
          metrics.failed();
          logger.error({ err: error, failures }, 'cannot set up the network of pods; trying again');
        }
        await waker.wait(failures > 0 ? backoffDelayMs(failures, retry) : periodMs, signal);
      }
    },
  };
}
