// What gives pods processors and devices, and who tells others of it.
import type { Container, Node, Pod } from '#kube/api/generated/core-v1.ts';
import { milliValue } from '#kube/api/quantity.ts';
import { runGroup } from '#kube/process/component.ts';
import { createDeviceManager } from '../device-plugin/device-manager.ts';
import { describeDevices, describeEntries } from '../pod-resources/describe-devices.ts';
import { servePodResources } from '../pod-resources/pod-resources-server.ts';
import { createCpuManager } from '../resource-manager/cpu-manager.ts';
import { readCpuTopology } from '../resource-manager/cpu-topology.ts';
import type { ContainerExtras } from '../resource-manager/hint-provider.ts';
import { createResourceManager } from '../resource-manager/resource-manager.ts';
import { isAlive } from '../runtime-cache/pod-runtime.ts';
import type { AgentParts } from './agent-parts.ts';
import type { RuntimeParts } from './wire-runtime.ts';

/** How far nodes are from each other on average; 0 for one alone. */
function distanceIn(nodes: readonly { id: number; distances: readonly number[] }[]): (mask: number) => number {
  return (mask) => {
    const own = nodes.filter(({ id }) => (mask & (1 << id)) !== 0);
    const all = own.flatMap(({ distances }) => own.map(({ id }) => distances[id] ?? 10));
    return all.reduce((sum, distance) => sum + distance, 0) / Math.max(all.length, 1);
  };
}

/** Connects them; `changed` is told when the node has other devices than before. Throws UsageError. */
export async function wireResources(parts: AgentParts, { direct, cache }: RuntimeParts, changed: () => void) {
  const { settings, facts, clock, logger } = parts;
  const { rootDir } = settings;
  const topology = await readCpuTopology(facts.memoryBytes);
  const nodes = topology.nodes.reduce((mask, { id }) => mask | (1 << id), 0);
  const devices = await createDeviceManager({ rootDir, nodes, clock, logger, changed });
  const cpus = await createCpuManager({
    rootDir,
    policy: settings.cpuManagerPolicy,
    options: settings.cpuManagerOptions,
    reservedCpus: settings.reservedCpus,
    reservedMilli: settings.reserved.reduce((sum, list) => sum + milliValue(list['cpu']), 0),
    topology,
    runtime: direct,
    runtimes: cache.all,
    reconcileMs: settings.cpuReconcileMs,
    clock,
    logger,
  });
  const closest = settings.topologyOptions['prefer-closest-numa-nodes'] === 'true';
  const manager = createResourceManager({
    providers: [cpus, devices],
    policy: settings.topologyPolicy,
    scope: settings.topologyScope,
    topology: { all: nodes, ...(closest ? { distance: distanceIn(topology.nodes) } : {}) },
    running: () =>
      cache
        .all()
        .filter(isAlive)
        .map(({ uid }) => uid),
  });
  const { inventory } = devices;
  return {
    counts: devices.counts,
    handlers: [devices.handler],
    admit: manager.admit,
    /** The node with the devices it has now, which its object may not say yet. */
    withDevices(node: Node | undefined): Node | undefined {
      if (node === undefined) return undefined;
      const now = [...devices.counts()].map(([name, { allocatable }]) => [name, `${allocatable}`]);
      const allocatable = { ...node.status?.allocatable, ...Object.fromEntries(now) };
      return { ...node, status: { ...node.status, allocatable } };
    },
    async extras(pod: Pod, container: Container, signal: AbortSignal): Promise<ContainerExtras> {
      const extras = await devices.prepare(pod, container, signal);
      return { ...extras, cpus: cpus.cpusOf(pod.metadata.uid ?? '', container.name) };
    },
    run: (signal: AbortSignal) => runGroup([devices, cpus], signal),
    /** The pod resources API. */
    serve: (pods: () => readonly Pod[], signal: AbortSignal) =>
      servePodResources(
        rootDir,
        {
          pods,
          of: ({ metadata: { uid = '' } }, { name }) => ({
            devices: describeEntries(inventory.entriesOf(uid, name)),
            cpus: cpus.exclusiveOf(uid, name),
            memory: [],
            claims: [],
          }),
          allocatable: () => ({
            devices: inventory.resources().flatMap((name) => describeDevices(name, inventory.devicesOf(name))),
            cpus: cpus.assignable(),
            memory: [],
          }),
        },
        signal,
      ),
  };
}

/** What `wireResources` made. */
export type ResourceParts = Awaited<ReturnType<typeof wireResources>>;
