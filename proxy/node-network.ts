// What berth adds to a proxy, constructed: the pod network of the node.
import type { Logger } from 'pino';
import * as resources from '#kube/api/generated/resources.ts';
import type { ApiClient } from '#kube/client/types.ts';
import { createInformer } from '#kube/informer/create-informer.ts';
import type { Clock } from '#kube/process/clock.ts';
import type { Component } from '#kube/process/component.ts';
import type { Exec } from '#kube/process/exec.ts';
import type { ProxyConfig } from './config/proxy-config.ts';
import { trimNode } from './pod-network/network-node.ts';
import { createPodNetwork } from './pod-network/pod-network.ts';

export interface NodeNetworkDependencies {
  config: Pick<ProxyConfig, 'podNetwork' | 'makesPodNetwork'>;
  nodeName: string;
  client: ApiClient;
  clock: Clock;
  exec: Exec;
  logger: Logger;
}

/** The parts that are switched on, with what they watch. */
export function createNodeNetwork(dependencies: NodeNetworkDependencies): Pick<Component, 'run'>[] {
  const { config, nodeName, client, clock, exec, logger } = dependencies;
  const common = { client, clock, logger };
  const parts: Pick<Component, 'run'>[] = [];
  if (config.makesPodNetwork) {
    const nodes = createInformer({ ...common, resource: resources.nodes, transform: trimNode });
    const network = createPodNetwork({ config: config.podNetwork, nodeName, nodes, exec, clock, root: '/', logger });
    parts.push(nodes, network);
  }
  return parts;
}
