// What gives pods processors, memory and devices.
import type { Container, Node, Pod } from '#kube/api/generated/core-v1.ts';
import { createDeviceManager } from '../device-plugin/device-manager.ts';
import type { ContainerExtras } from '../resource-manager/hint-provider.ts';
import { createResourceManager } from '../resource-manager/resource-manager.ts';
import type { AgentParts } from './agent-parts.ts';

/** Connects them; `changed` is told when the node has other devices than before. */
export async function wireResources(parts: AgentParts, changed: () => void) {
  const { settings, clock, logger } = parts;
  const nodes = 1;
  const devices = await createDeviceManager({ rootDir: settings.rootDir, nodes, clock, logger, changed });
  const manager = createResourceManager({
    providers: [devices],
    policy: settings.topologyPolicy,
    scope: settings.topologyScope,
    topology: { all: nodes },
  });
  return {
    counts: devices.counts,
    handlers: [devices.handler],
    devices,
    admit: manager.admit,
    /** The node with the devices it has now, which its object may not say yet. */
    withDevices(node: Node | undefined): Node | undefined {
      if (node === undefined) return undefined;
      const now = [...devices.counts()].map(([name, { allocatable }]) => [name, `${allocatable}`]);
      return {
        ...node,
        status: { ...node.status, allocatable: { ...node.status?.allocatable, ...Object.fromEntries(now) } },
      };
    },
    extras: (pod: Pod, container: Container, signal: AbortSignal): Promise<ContainerExtras> =>
      devices.prepare(pod, container, signal),
    run: devices.run,
  };
}

/** What `wireResources` made. */
export type ResourceParts = Awaited<ReturnType<typeof wireResources>>;
