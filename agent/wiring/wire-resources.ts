// What gives pods processors and devices, and who tells others of it.
import { join } from 'node:path';
import type { Container, Node, Pod } from '#kube/api/generated/core-v1.ts';
import { addQuantities, milliValue, parseQuantity, type Quantity, quantityOf } from '#kube/api/quantity.ts';
import { runGroup } from '#kube/process/component.ts';
import { createDeviceManager } from '../device-plugin/device-manager.ts';
import { createClaimManager } from '../dra/claim-manager.ts';
import { openClaimStore } from '../dra/claim-store.ts';
import { createDeviceHealth } from '../dra/device-health.ts';
import { createDriverRegistry } from '../dra/driver-registry.ts';
import { removeResourceSlices } from '../dra/resource-slices.ts';
import { thresholdQuantity } from '../node/compute-node-status.ts';
import { describeClaim, describeDevices, describeEntries } from '../pod-resources/describe-devices.ts';
import { describeMemory } from '../pod-resources/describe-memory.ts';
import { servePodResources } from '../pod-resources/pod-resources-server.ts';
import { createCpuManager } from '../resource-manager/cpu-manager.ts';
import { checkCpuPolicyOptions, parseCpuPolicyOptions } from '../resource-manager/cpu-policy-options.ts';
import { readCpuTopology } from '../resource-manager/cpu-topology.ts';
import type { ContainerExtras } from '../resource-manager/hint-provider.ts';
import { createMemoryManager } from '../resource-manager/memory-manager.ts';
import { systemReservedMemory } from '../resource-manager/reserved-memory.ts';
import { createResourceManager } from '../resource-manager/resource-manager.ts';
import { parseTopologyOptions } from '../resource-manager/topology-options.ts';
import { isAlive } from '../runtime-cache/pod-runtime.ts';
import { registerClaimMetrics } from '../server/metrics/claim-metrics.ts';
import {
  registerPinningMetrics,
  registerProcessorMetrics,
  registerTopologyMetrics,
} from '../server/metrics/manager-metrics.ts';
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

/** What the node keeps from pods in all, by resource. */
function withheld({ settings, facts }: AgentParts): Map<string, Quantity> {
  const held = new Map<string, Quantity>();
  const add = (resource: string, amount: Quantity) => {
    const before = held.get(resource);
    held.set(resource, before === undefined ? amount : addQuantities(before, amount));
  };
  for (const list of settings.reserved) {
    for (const [resource, text] of Object.entries(list)) add(resource, parseQuantity(text));
  }
  const capacity = quantityOf(facts.memoryBytes, 'BinarySI');
  add('memory', thresholdQuantity(settings.evictionHard['memory.available'], capacity));
  return held;
}

export interface ResourceListeners {
  /** The node has other devices than before. */
  changed(): void;
  /** Something that any pod may wait for is there. */
  wakeAll(): void;
  /** Something about these pods has changed. */
  wake(podUids: readonly string[]): void;
}

/** Connects them. Throws UsageError. */
export async function wireResources(parts: AgentParts, runtimeParts: RuntimeParts, told: ResourceListeners) {
  const { direct, cache } = runtimeParts;
  const { settings, facts, clock, logger } = parts;
  const { rootDir } = settings;
  const topology = await readCpuTopology(facts.memoryBytes);
  const nodes = topology.nodes.reduce((mask, { id }) => mask | (1 << id), 0);
  const devices = await createDeviceManager({
    rootDir,
    nodes,
    clock,
    logger,
    changed: told.changed,
    healthChanged: told.wake,
  });
  const { cpuManagerPolicy, featureGates } = settings;
  const cpuOptions = parseCpuPolicyOptions(cpuManagerPolicy, settings.cpuManagerOptions, featureGates);
  checkCpuPolicyOptions(cpuOptions, topology, settings.topologyPolicy);
  const pinned = registerPinningMetrics(parts.metrics.registry);
  const cpus = await createCpuManager({
    rootDir,
    policy: cpuManagerPolicy,
    options: cpuOptions,
    observe(failed) {
      pinned.processors(failed);
      if (cpuOptions.wholeCores) pinned.aligned('container', 'physical_cpu', !failed);
    },
    reservedCpus: settings.reservedCpus,
    reservedMilli: settings.reserved.reduce((sum, list) => sum + milliValue(list['cpu']), 0),
    topology,
    runtime: direct,
    runtimes: cache.all,
    reconcileMs: settings.cpuReconcileMs,
    clock,
    logger,
  });
  const memory = await createMemoryManager({
    rootDir,
    policy: settings.memoryManagerPolicy,
    nodes: topology.nodes,
    reserved:
      settings.memoryManagerPolicy === 'Static'
        ? systemReservedMemory(topology.nodes, withheld(parts), settings.reservedMemory)
        : new Map(),
    observe: pinned.memory,
    logger,
  });
  const { preferClosest } = parseTopologyOptions(
    settings.topologyPolicy,
    settings.topologyOptions,
    topology.nodes.length,
  );
  const observeAdmission = registerTopologyMetrics(parts.metrics.registry);
  const manager = createResourceManager({
    providers: [cpus, memory, devices],
    observe(admitted, durationMs) {
      observeAdmission(admitted, durationMs);
      if (settings.topologyPolicy === 'single-numa-node') pinned.aligned(settings.topologyScope, 'numa_node', admitted);
    },
    policy: settings.topologyPolicy,
    scope: settings.topologyScope,
    topology: { all: nodes, ...(preferClosest ? { distance: distanceIn(topology.nodes) } : {}) },
    running: () =>
      cache
        .all()
        .filter(isAlive)
        .map(({ uid }) => uid),
  });
  const { inventory } = devices;
  const health = createDeviceHealth(clock);
  const drivers = createDriverRegistry({
    ...{ clock, logger, health, registered: told.wakeAll },
    removeSlices: (driver, signal) => removeResourceSlices({ ...parts, nodeName: parts.nodeName }, driver, signal),
    healthChanged(driver, reports) {
      const users = reports?.flatMap((report) => claims.usersOf(driver, report)) ?? claims.usersOf(driver);
      told.wake([...new Set(users)]);
    },
  });
  const claims = createClaimManager({
    ...registerClaimMetrics(parts.metrics.registry, () => claims.inUse()),
    client: parts.client,
    store: await openClaimStore(join(rootDir, 'dra_manager_state'), logger),
    clientOf: drivers.clientOf,
    clock,
  });
  const tellsHealth = featureGates['ResourceHealthStatus'] !== 'false';
  /** Containers with processors of their own are not slowed down on them. */
  const withoutQuota = ({ metadata: { uid = '' } }: Pod, containers: readonly Container[]) =>
    featureGates['DisableCPUQuotaWithExclusiveCPUs'] !== 'false' &&
    containers.some(({ name }) => cpus.exclusiveOf(uid, name).length > 0);
  runtimeParts.withoutQuota((pod) => withoutQuota(pod, [...(pod.spec.initContainers ?? []), ...pod.spec.containers]));
  const describeOwn = (pod: Pod, container: Container) => {
    const { uid = '' } = pod.metadata;
    return {
      devices: describeEntries(inventory.entriesOf(uid, container.name)),
      cpus: cpus.exclusiveOf(uid, container.name),
      memory: describeMemory(memory.blocksOf(uid, container.name)),
      claims: claims.claimsOf(pod, container).map(describeClaim),
    };
  };

  const exclusiveOf = (pods: readonly Pod[]) => [
    ...new Set(
      pods.flatMap(({ metadata: { uid = '' }, spec }) =>
        [...(spec.initContainers ?? []), ...spec.containers].flatMap(({ name }) => cpus.exclusiveOf(uid, name)),
      ),
    ),
  ];

  /** A socket that cannot be opened, for example since its path is too long, keeps no pod from running. */
  async function tolerated(
    what: string,
    run: (stop: AbortSignal) => Promise<void>,
    signal: AbortSignal,
  ): Promise<void> {
    await run(signal).catch((error: unknown) => {
      if (!signal.aborted) logger.error({ err: error }, `cannot serve ${what}`);
    });
    if (!signal.aborted) await new Promise((done) => signal.addEventListener('abort', done, { once: true }));
  }

  return {
    counts: devices.counts,
    /** What the pods' containers have of the processors, for metrics. */
    watchProcessors: (pods: () => readonly Pod[]) =>
      registerProcessorMetrics(parts.metrics.registry, {
        isStatic: settings.cpuManagerPolicy === 'static',
        exclusive: () => exclusiveOf(pods()).length,
        assignable: () => cpus.assignable().length,
        byNode: () =>
          new Map(
            topology.nodes.map(({ id }) => {
              const own = topology.cpus.filter(({ node }) => node === id).map((cpu) => cpu.id);
              return [id, exclusiveOf(pods()).filter((cpu) => own.includes(cpu)).length];
            }),
          ),
      }),
    handlers: [devices.handler, drivers.handler],
    claims,
    /** Devices that a container was given, with their health. */
    deviceHealth: (pod: Pod, container: Container) =>
      tellsHealth
        ? [
            ...devices.healthOf(pod.metadata.uid ?? '', container.name),
            ...claims.healthOf(pod, container, health.of).filter(({ resources = [] }) => resources.length > 0),
          ]
        : [],
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
      for (const name of claims.devicesOf(pod, container)) extras.cdiDevices.push({ name });
      const { uid = '' } = pod.metadata;
      return {
        ...extras,
        cpus: cpus.cpusOf(uid, container.name),
        memoryNodes: memory.nodesOf(uid, container.name),
        exclusiveCpus: withoutQuota(pod, [container]),
      };
    },
    async run(signal: AbortSignal) {
      const serving = { run: (stop: AbortSignal) => tolerated('device plugins', devices.run, stop) };
      await runGroup([serving, cpus, drivers], signal);
      drivers.close();
    },
    /** The pod resources API. */
    serve(pods: () => readonly Pod[], signal: AbortSignal) {
      const allocatable = () => ({
        devices: inventory.resources().flatMap((name) => describeDevices(name, inventory.devicesOf(name))),
        cpus: cpus.assignable(),
        memory: describeMemory(memory.allocatable()),
      });
      const sources = { pods, of: describeOwn, allocatable };
      return tolerated('the pod resources API', (stop) => servePodResources(rootDir, sources, stop), signal);
    },
  };
}

/** What `wireResources` made. */
export type ResourceParts = Awaited<ReturnType<typeof wireResources>>;
