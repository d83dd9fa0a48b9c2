// What berth adds to a proxy, constructed: the pod network of the node, and the policies for its pods.
import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import * as resources from '#kube/api/generated/resources.ts';
import type { ApiClient } from '#kube/client/types.ts';
import { createInformer } from '#kube/informer/create-informer.ts';
import type { Clock } from '#kube/process/clock.ts';
import type { Component } from '#kube/process/component.ts';
import type { Exec } from '#kube/process/exec.ts';
import type { ProxyConfig } from './config/proxy-config.ts';
import { createPodNetworkMetrics, createPolicyMetrics } from './network-metrics.ts';
import { createNetworkPolicy } from './network-policy/network-policy.ts';
import { createPolicyApplier, removePolicyTable } from './network-policy/policy-applier.ts';
import { trimPod } from './network-policy/policy-pod.ts';
import { trimNode } from './pod-network/network-node.ts';
import { createPodNetwork } from './pod-network/pod-network.ts';
import { removePodNetwork } from './pod-network/remove-pod-network.ts';

export interface NodeNetworkDependencies {
  config: Pick<ProxyConfig, 'podNetwork' | 'makesPodNetwork' | 'enforcesPolicies'>;
  nodeName: string;
  client: ApiClient;
  registry: Registry;
  clock: Clock;
  exec: Exec;
  logger: Logger;
}

/** The parts that are switched on, with what they watch. */
export function createNodeNetwork(dependencies: NodeNetworkDependencies): Pick<Component, 'run'>[] {
  const { config, nodeName, client, registry, clock, exec, logger } = dependencies;
  if (!config.makesPodNetwork && !config.enforcesPolicies) return [];
  const common = { client, clock, logger };
  const nodes = createInformer({ ...common, resource: resources.nodes, transform: trimNode });
  const parts: Pick<Component, 'run'>[] = [nodes];
  if (config.makesPodNetwork) {
    const metrics = createPodNetworkMetrics(registry);
    const network = { config: config.podNetwork, nodeName, nodes, exec, clock, root: '/', metrics, logger };
    parts.push(createPodNetwork(network));
  }
  if (config.enforcesPolicies) {
    parts.push(
      createNetworkPolicy({
        nodeName,
        bridge: config.podNetwork.bridge,
        policies: createInformer({ ...common, resource: resources.networkpolicies }),
        pods: createInformer({ ...common, resource: resources.pods, transform: trimPod }),
        namespaces: createInformer({ ...common, resource: resources.namespaces }),
        nodes,
        applier: createPolicyApplier(exec),
        metrics: createPolicyMetrics(registry),
        clock,
        logger,
      }),
    );
  }
  return parts;
}

/** Removes all that these parts made on this machine, and nothing else. `cniConfDir` is where the runtime's configuration is. */
export async function removeNodeNetwork(exec: Exec, cniConfDir: string): Promise<void> {
  await removePolicyTable(exec);
  await removePodNetwork(exec, cniConfDir);
}
