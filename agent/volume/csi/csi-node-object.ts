// What the API knows of a node's drivers: the CSINode object, and on the Node an annotation with the drivers' ids and
// the labels of their topology (pkg/volume/csi/nodeinfomanager).
import type { Node } from '#kube/api/generated/core-v1.ts';
import { csinodes, nodes } from '#kube/api/generated/resources.ts';
import type { CSINode, CSINodeDriver } from '#kube/api/generated/storage-v1.ts';
import type { ApiClient } from '#kube/client/types.ts';
import { isAlreadyExists, isConflict, isNotFound } from '#kube/errors/status-error.ts';
import type { Clock } from '#kube/process/clock.ts';
import { createKeyLock } from '../key-lock.ts';
import type { CsiNodeInfo } from './csi-node-client.ts';

const nodeIdAnnotation = 'csi.volume.kubernetes.io/nodeid';
const migratedAnnotation = 'storage.alpha.kubernetes.io/migrated-plugins';
/** Kinds of volumes that only CSI drivers serve any more, whatever their name. */
const migratedPlugins = [
  'kubernetes.io/aws-ebs',
  'kubernetes.io/azure-disk',
  'kubernetes.io/azure-file',
  'kubernetes.io/cinder',
  'kubernetes.io/gce-pd',
  'kubernetes.io/portworx-volume',
  'kubernetes.io/vsphere-volume',
].join(',');
const tries = 5;
const retryMs = 200;

/** Writes both objects. Every call throws when the API server refuses. */
export interface CsiNodeObject {
  /** Makes the CSINode object, without drivers. */
  ensure(signal: AbortSignal): Promise<void>;
  publish(driver: string, info: CsiNodeInfo, signal: AbortSignal): Promise<void>;
  withdraw(driver: string): Promise<void>;
}

/** The list with the driver in it. Throws for a node id that cannot be. */
export function withDriver(drivers: readonly CSINodeDriver[], name: string, info: CsiNodeInfo): CSINodeDriver[] {
  const { nodeId, maxVolumes, topology } = info;
  if (nodeId === '') throw new Error(`error adding CSI driver node info: driverNodeID must not be empty`);
  const entry: CSINodeDriver = {
    name,
    nodeID: nodeId,
    topologyKeys: Object.keys(topology).sort(),
    ...(maxVolumes > 0 ? { allocatable: { count: Math.min(maxVolumes, 2 ** 31 - 1) } } : {}),
  };
  return [...drivers.filter((driver) => driver.name !== name), entry];
}

function idsOf(node: Node): Record<string, string> {
  try {
    const parsed: unknown = JSON.parse(node.metadata.annotations?.[nodeIdAnnotation] ?? '{}');
    if (typeof parsed !== 'object' || parsed === null) return {};
    return Object.fromEntries(Object.entries(parsed).filter(([, id]) => typeof id === 'string'));
  } catch {
    // Not of our making: written anew.
    return {};
  }
}

/** Creates the writer for this node. */
export function createCsiNodeObject(client: ApiClient, nodeName: string, clock: Clock): CsiNodeObject {
  const lock = createKeyLock();

  async function read(signal?: AbortSignal): Promise<CSINode> {
    try {
      return await client.get(csinodes, { name: nodeName }, { signal });
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
    const { uid } = (await client.get(nodes, { name: nodeName }, { signal })).metadata;
    const draft = {
      metadata: {
        name: nodeName,
        annotations: { [migratedAnnotation]: migratedPlugins },
        ownerReferences: [{ apiVersion: 'v1', kind: 'Node', name: nodeName, uid: uid ?? '' }],
      },
      spec: { drivers: [] },
    };
    return client.create(csinodes, undefined, draft, { signal });
  }

  /** Others write these objects too: a write that came too late is made anew. */
  async function retried(write: () => Promise<void>, signal?: AbortSignal): Promise<void> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        await lock('', write);
        return;
      } catch (error) {
        if (attempt === tries || !(isConflict(error) || isAlreadyExists(error))) throw error;
        await clock.sleep(retryMs, signal);
      }
    }
  }

  const change = (alter: (drivers: CSINodeDriver[]) => CSINodeDriver[], signal?: AbortSignal) =>
    retried(async () => {
      const object = await read(signal);
      const drivers = alter(object.spec.drivers ?? []);
      await client.update(csinodes, { ...object, spec: { ...object.spec, drivers } }, { signal });
    }, signal);

  async function annotate(alter: (ids: Record<string, string>) => void, labels: Record<string, string>): Promise<void> {
    const node = await client.get(nodes, { name: nodeName });
    for (const [key, value] of Object.entries(labels)) {
      const present = node.metadata.labels?.[key];
      if (present === undefined || present === value) continue;
      const found = `driver reported "${key}":"${value}" but existing label is "${key}":"${present}"`;
      throw new Error(`detected topology value collision: ${found}`);
    }
    const ids = idsOf(node);
    alter(ids);
    const text = Object.keys(ids).length === 0 ? null : JSON.stringify(ids);
    const { resourceVersion } = node.metadata;
    const metadata = { resourceVersion, annotations: { [nodeIdAnnotation]: text }, labels };
    await client.patch(nodes, { name: nodeName }, 'merge', { metadata });
  }

  return {
    async ensure(signal) {
      await read(signal);
    },
    async publish(driver, info, signal) {
      const add = (ids: Record<string, string>) => {
        ids[driver] = info.nodeId;
      };
      await retried(() => annotate(add, info.topology), signal);
      await change((drivers) => withDriver(drivers, driver, info), signal);
    },
    async withdraw(driver) {
      await change((drivers) => drivers.filter(({ name }) => name !== driver));
      const remove = (ids: Record<string, string>) => {
        delete ids[driver];
      };
      await retried(() => annotate(remove, {}));
    },
  };
}
