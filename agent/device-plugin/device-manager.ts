// Devices of plugins: takes plugins that register, follows what they tell of their devices, gives devices to
// containers, and says what containers are started with (pkg/kubelet/cm/devicemanager).
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from 'pino';
import type { Container, Pod, ResourceStatus } from '#kube/api/generated/core-v1.ts';
import { isSidecar } from '#kube/api/pod-resources.ts';
import { quantityValue } from '#kube/api/quantity.ts';
import type { Clock } from '#kube/process/clock.ts';
import type { PluginHandler } from '../plugin-registration/plugin-handler.ts';
import { type ContainerExtras, type HintProvider, noExtras } from '../resource-manager/hint-provider.ts';
import type { TopologyHint } from '../resource-manager/topology-hint.ts';
import { type DeviceCounts, type DeviceInventory, idsOf, openDeviceInventory } from './device-inventory.ts';
import { type DevicePluginClient, openDevicePlugin } from './device-plugin-client.ts';
import { addAnswer } from './merge-answers.ts';
import { type DevicePluginRequest, isDeviceResource, serveRegistration } from './registration-server.ts';
import { candidates, type DeviceChoice, deviceHints, selectDevices } from './select-devices.ts';

/** A plugin that is away for longer takes its resource with it. */
const absenceMs = 300_000;

export interface DeviceManagerOptions {
  /** The agent's folder. */
  rootDir: string;
  /** NUMA nodes of the machine as a mask. */
  nodes: number;
  clock: Clock;
  logger: Logger;
  /** Told when the node has other devices than before. */
  changed(): void;
  /** Told of pods whose devices may have another health than before. */
  healthChanged?(podUids: readonly string[]): void;
  observeRegistration?(resource: string): void;
  observeAllocation?(resource: string, durationMs: number): void;
  open?(socketPath: string): DevicePluginClient;
}

export interface DeviceManager extends HintProvider {
  /** What the node's status says. */
  counts(): Map<string, DeviceCounts>;
  inventory: DeviceInventory;
  /** The container's devices with their health, as its status shows them. */
  healthOf(podUid: string, container: string): ResourceStatus[];
  /** What the container is started with; calls plugins that want to know of the start. */
  prepare(pod: Pod, container: Container, signal: AbortSignal): Promise<ContainerExtras>;
  /** For plugins that register as others do. */
  readonly handler: PluginHandler;
  run(signal: AbortSignal): Promise<void>;
}

interface Endpoint {
  client: DevicePluginClient;
  wantsPreStart: boolean;
  hasPreference: boolean;
  stop: AbortController;
}

/** Opens the manager; nothing is served before `run`. */
export async function createDeviceManager(options: DeviceManagerOptions): Promise<DeviceManager> {
  const { clock, logger, open = openDevicePlugin } = options;
  const directory = join(options.rootDir, 'device-plugins');
  const inventory = await openDeviceInventory(join(directory, 'kubelet_internal_checkpoint'), logger);
  const endpoints = new Map<string, Endpoint>();
  const absences = new Map<string, { cancel(): void }>();
  let running: AbortSignal | undefined;

  const save = () =>
    inventory.save().catch((error: unknown) => logger.error({ err: error }, 'cannot write the checkpoint of devices'));

  function changed(resource: string): void {
    options.changed();
    const users = inventory.entries().filter((entry) => entry.resource === resource);
    if (users.length > 0) options.healthChanged?.([...new Set(users.map(({ podUid }) => podUid))]);
  }

  function expect(resource: string): void {
    absences.get(resource)?.cancel();
    absences.set(
      resource,
      clock.after(absenceMs, () => {
        logger.warn({ resource }, 'the plugin of a device did not come back');
        inventory.remove(resource);
        void save();
        changed(resource);
      }),
    );
  }

  async function follow(resource: string, endpoint: Endpoint, stop: AbortSignal): Promise<void> {
    try {
      for await (const devices of endpoint.client.listAndWatch(stop)) {
        if (endpoints.get(resource) !== endpoint) break;
        const facts = devices.map(({ ID, health, topology }) => ({
          id: ID,
          healthy: health === 'Healthy',
          nodes: (topology?.nodes ?? []).map((node) => node.ID),
        }));
        if (!inventory.set(resource, facts)) continue;
        await save();
        changed(resource);
      }
    } catch (error) {
      if (!stop.aborted) logger.info({ err: error, resource }, 'the plugin of a device is gone');
    }
    endpoint.client.close();
    if (endpoints.get(resource) !== endpoint) return;
    endpoints.delete(resource);
    if (running?.aborted === true) return;
    inventory.markUnhealthy(resource);
    expect(resource);
    await save();
    changed(resource);
  }

  async function begin({ resource, socketPath }: DevicePluginRequest, signal: AbortSignal): Promise<void> {
    const client = open(socketPath);
    try {
      const { preStartRequired, getPreferredAllocationAvailable } = await client.options(signal);
      const stop = new AbortController();
      const before = endpoints.get(resource);
      const endpoint = {
        client,
        wantsPreStart: preStartRequired,
        hasPreference: getPreferredAllocationAvailable,
        stop,
      };
      endpoints.set(resource, endpoint);
      before?.stop.abort(new Error('the plugin has registered again'));
      absences.get(resource)?.cancel();
      absences.delete(resource);
      options.observeRegistration?.(resource);
      logger.info({ resource, socket: socketPath }, 'registered a device plugin');
      void follow(resource, endpoint, AbortSignal.any([signal, stop.signal]));
    } catch (error) {
      client.close();
      throw error;
    }
  }

  const requestsOf = ({ resources }: Container): [string, number][] =>
    Object.entries(resources?.limits ?? {})
      .filter(([name]) => isDeviceResource(name) && inventory.resources().includes(name))
      .map(([name, amount]): [string, number] => [name, quantityValue(amount)])
      .filter(([, count]) => count > 0);

  /** What init containers have that are over when this one runs. */
  function reusableFor(pod: Pod, container: Container, resource: string): Set<string> {
    const earlier = new Set<string>();
    for (const init of pod.spec.initContainers ?? []) {
      if (init.name === container.name) break;
      if (isSidecar(init)) continue;
      for (const id of idsOf(inventory.entryOf(pod.metadata.uid ?? '', init.name, resource))) earlier.add(id);
    }
    return earlier;
  }

  function choiceFor(pod: Pod, container: Container, resource: string, count: number): DeviceChoice {
    const uid = pod.metadata.uid ?? '';
    const reusable = reusableFor(pod, container, resource);
    const taken = inventory.takenBut(resource, uid, container.name);
    // What an ended init container had may go to one other container.
    const others = inventory
      .entriesOf(uid)
      .filter((entry) => entry.resource === resource && entry.container !== container.name)
      .filter(
        (entry) => !(pod.spec.initContainers ?? []).some((init) => init.name === entry.container && !isSidecar(init)),
      );
    const inOthers = new Set(others.flatMap(idsOf));
    for (const id of reusable) if (!inOthers.has(id)) taken.delete(id);
    const own = new Set(idsOf(inventory.entryOf(uid, container.name, resource)));
    return { devices: inventory.devicesOf(resource), taken, own, reusable, count };
  }

  async function give(
    pod: Pod,
    container: Container,
    resource: string,
    count: number,
    hint: TopologyHint,
    signal: AbortSignal,
  ): Promise<void> {
    const uid = pod.metadata.uid ?? '';
    const has = idsOf(inventory.entryOf(uid, container.name, resource));
    if (has.length === count) return;
    const choice = choiceFor(pod, container, resource, count);
    const isHealthy = [...choice.devices.values()].some((device) => device.healthy);
    const endpoint = endpoints.get(resource);
    if (endpoint === undefined || !isHealthy) {
      throw new Error(`no healthy devices present; cannot allocate unhealthy devices ${resource}`);
    }
    const found = candidates(resource, choice, hint.nodes);
    let preferred: string[] = [];
    if (endpoint.hasPreference && found.must.length < count) {
      const enough = found.must.length + found.aligned.length >= count;
      const available = [...found.must, ...found.aligned, ...(enough ? [] : found.others)];
      preferred = await endpoint.client.preferred({ available, include: found.must, size: count }, signal);
    }
    const ids = selectDevices(found, count, preferred);
    const startedMs = clock.monotonicMs();
    const answer = await endpoint.client.allocate(ids, signal);
    options.observeAllocation?.(resource, clock.monotonicMs() - startedMs);
    const byNode = new Map<number, string[]>();
    for (const id of ids) {
      const nodes = choice.devices.get(id)?.nodes ?? [];
      for (const node of nodes.length === 0 ? [-1] : nodes.slice(0, 1))
        byNode.set(node, [...(byNode.get(node) ?? []), id]);
    }
    await inventory.put({ podUid: uid, container: container.name, resource, ids: byNode, answer });
  }

  const noPreference: TopologyHint = { nodes: undefined, preferred: true };

  return {
    inventory,
    counts: inventory.counts,
    healthOf: (podUid, container) =>
      inventory.entriesOf(podUid, container).map((entry) => {
        const known = inventory.devicesOf(entry.resource);
        const health = (id: string) => (known.get(id)?.healthy === false ? 'Unhealthy' : 'Healthy');
        // Of a plugin that has not come back after a restart nothing is known.
        const word = (id: string) => (known.size === 0 ? 'Unknown' : health(id));
        const resources = idsOf(entry)
          .sort()
          .map((id) => ({ resourceID: id, health: word(id) }));
        return { name: entry.resource, resources };
      }),
    hints: (pod, container) =>
      new Map(
        requestsOf(container).map(([resource, count]) => [
          resource,
          deviceHints(choiceFor(pod, container, resource, count), options.nodes),
        ]),
      ),
    podHints(pod) {
      const sums = new Map<string, number>();
      for (const container of pod.spec.containers) {
        for (const [resource, count] of requestsOf(container)) sums.set(resource, (sums.get(resource) ?? 0) + count);
      }
      for (const init of pod.spec.initContainers ?? []) {
        for (const [resource, count] of requestsOf(init)) sums.set(resource, Math.max(sums.get(resource) ?? 0, count));
      }
      const [first] = pod.spec.containers;
      if (first === undefined) return new Map();
      return new Map(
        [...sums].map(([resource, count]) => [
          resource,
          deviceHints(choiceFor(pod, first, resource, count), options.nodes),
        ]),
      );
    },
    async allocate(pod, container, hint, signal) {
      for (const [resource, count] of requestsOf(container)) await give(pod, container, resource, count, hint, signal);
    },
    retain: (podUids) =>
      void inventory
        .retain(podUids)
        .catch((error: unknown) => logger.error({ err: error }, 'cannot write the checkpoint of devices')),
    async prepare(pod, container, signal) {
      const extras = noExtras();
      const uid = pod.metadata.uid ?? '';
      for (const [resource, count] of requestsOf(container)) {
        // After a restart of the machine what was given may be known no longer.
        await give(pod, container, resource, count, noPreference, signal);
        const entry = inventory.entryOf(uid, container.name, resource);
        const endpoint = endpoints.get(resource);
        if (endpoint?.wantsPreStart === true) await endpoint.client.preStart(idsOf(entry), signal);
        if (entry !== undefined) addAnswer(extras, entry.answer);
      }
      return extras;
    },
    handler: {
      type: 'DevicePlugin',
      async register(plugin, signal) {
        if (!plugin.versions.includes('v1beta1')) {
          throw new Error(`the device plugin speaks ${plugin.versions.join(', ')}, not v1beta1`);
        }
        if (!isDeviceResource(plugin.name)) throw new Error(`invalid name of device plugin socket: ${plugin.name}`);
        await begin({ resource: plugin.name, socketPath: plugin.endpoint }, running ?? signal);
      },
      deregister: async (plugin) => endpoints.get(plugin.name)?.stop.abort(new Error('the plugin has gone')),
    },
    async run(signal) {
      running = signal;
      await mkdir(directory, { recursive: true, mode: 0o750 });
      for (const resource of inventory.resources()) expect(resource);
      const register = (request: DevicePluginRequest) =>
        void begin(request, signal).catch((error: unknown) => {
          if (!signal.aborted) logger.warn({ err: error, resource: request.resource }, 'cannot use a device plugin');
        });
      try {
        await serveRegistration(directory, register, signal);
      } finally {
        for (const timer of absences.values()) timer.cancel();
        for (const { client } of endpoints.values()) client.close();
      }
    },
  };
}
