// Where the status of the node comes from: facts, settings, and what can only be asked for.
import { statfs } from 'node:fs/promises';
import type { Node, NodeStatus } from '#kube/api/generated/core-v1.ts';
import type { Clock } from '#kube/process/clock.ts';
import { kubernetesVersion } from '#kube/process/version.ts';
import type { AgentSettings } from '../config/settings.ts';
import type { ImageService } from '../cri/image-service.ts';
import type { DeviceCounts } from '../device-plugin/device-inventory.ts';
import type { Pressure } from '../eviction/plan-pressure.ts';
import { computeNodeStatus } from './compute-node-status.ts';
import type { MachineFacts } from './machine-facts.ts';
import type { RuntimeAbilities } from './runtime-health.ts';

export interface NodeStatusSourceOptions {
  settings: AgentSettings;
  facts: MachineFacts;
  nodeName: string;
  nodeIps: string[];
  images: ImageService;
  /** As the Node object names it, for example containerd://1.6.20. */
  runtimeVersion: string;
  problems(): string[];
  abilities(): RuntimeAbilities;
  pressure(): Pressure;
  devices(): ReadonlyMap<string, DeviceCounts>;
  clock: Clock;
}

/** The status as it is when asked; `previous` is the Node object it will replace the status of. */
export function createNodeStatusSource(
  options: NodeStatusSourceOptions,
): (previous: Node | undefined) => Promise<NodeStatus> {
  const { settings } = options;
  return async (previous) => {
    const storage = await statfs(settings.rootDir).catch(() => undefined);
    const counted = settings.localStorage && storage !== undefined;
    const inputs = {
      facts: options.facts,
      hostname: options.nodeName,
      ips: options.nodeIps,
      cloud: settings.cloudProvider === 'external' ? { ipsConfigured: settings.nodeIps.length > 0 } : undefined,
      maxPods: settings.maxPods,
      reserved: settings.reserved,
      evictionHard: settings.evictionHard,
      storageBytes: counted ? storage.blocks * storage.bsize : undefined,
      serverPort: settings.server.port,
      runtimeVersion: options.runtimeVersion,
      kubeletVersion: kubernetesVersion,
      images: await options.images.listImages().catch(() => []),
      maxImages: settings.maxImages,
      problems: options.problems(),
      abilities: options.abilities(),
      pressure: options.pressure(),
      devices: options.devices(),
      nowMs: options.clock.now(),
    };
    return computeNodeStatus(inputs, previous);
  };
}
