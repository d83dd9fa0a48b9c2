// kubelet_internal_checkpoint: which devices which containers have, in kubelet's format and with its checksum
// (pkg/kubelet/cm/devicemanager/checkpoint), so that either agent finds what the other one gave away.
import { CheckpointError } from '../allocation/checkpoint.ts';
import { fnv32a } from '../container/container-hash.ts';
import type { AllocateAnswer } from './device-plugin-client.ts';
import { loadDevicePluginPackage } from './device-plugin-client.ts';

/** Devices of one resource that one container has. */
export interface DeviceEntry {
  podUid: string;
  container: string;
  resource: string;
  /** Ids by NUMA node; -1 where devices tell none. */
  ids: ReadonlyMap<number, readonly string[]>;
  answer: AllocateAnswer;
}

export interface DeviceCheckpoint {
  entries: DeviceEntry[];
  /** Healthy devices by resource, when it was written. */
  registered: ReadonlyMap<string, readonly string[]>;
}

interface RawEntry {
  PodUID: string;
  ContainerName: string;
  ResourceName: string;
  DeviceIDs: Record<string, string[]>;
  AllocResp: string;
}

interface RawData {
  PodDeviceEntries: RawEntry[] | null;
  RegisteredDevices: Record<string, string[] | null>;
}

const { Allocate } = loadDevicePluginPackage().v1beta1.DevicePlugin.service;

/** The answer for one container as the bytes of its own message: that of the whole without its first field's head. */
function encodeAnswer(answer: AllocateAnswer): Buffer {
  const whole = Allocate.responseSerialize({ containerResponses: [answer] });
  let start = 1;
  while (((whole[start] ?? 0) & 0x80) !== 0) start += 1;
  return whole.subarray(start + 1);
}

function decodeAnswer(bytes: Buffer): AllocateAnswer {
  const head = [0x0a];
  for (let length = bytes.length; ; length >>>= 7) {
    if (length < 0x80) {
      head.push(length);
      break;
    }
    head.push((length & 0x7f) | 0x80);
  }
  const [answer] = Allocate.responseDeserialize(Buffer.concat([Buffer.from(head), bytes])).containerResponses;
  if (answer === undefined) throw new CheckpointError('an allocation has no answer');
  return answer;
}

/** As Go's spew prints the data with types and sorted keys on one line: what the checksum is of. */
function dump({ PodDeviceEntries: entries, RegisteredDevices: registered }: RawData): string {
  // Types of what is in lists and maps are left out.
  const strings = (items: readonly string[] | null) => (items === null ? '<nil>' : `[${items.join(' ')}]`);
  const bytes = (text: string) => `([]uint8)[${Buffer.from(text, 'base64').join(' ')}]`;
  const sortedKeys = (map: object) => Object.keys(map).sort((a, b) => (a < b ? -1 : 1));
  const entry = ({ PodUID, ContainerName, ResourceName, DeviceIDs, AllocResp }: RawEntry) => {
    const nodes = Object.keys(DeviceIDs)
      .map(Number)
      .sort((a, b) => a - b)
      .map((node) => `${node}:${strings(DeviceIDs[`${node}`] ?? null)}`);
    const devices = `(checkpoint.DevicesPerNUMA)map[${nodes.join(' ')}]`;
    return `{PodUID:(string)${PodUID} ContainerName:(string)${ContainerName} ResourceName:(string)${ResourceName} DeviceIDs:${devices} AllocResp:${bytes(AllocResp)}}`;
  };
  const all = entries === null ? '<nil>' : `[${entries.map(entry).join(' ')}]`;
  const known = sortedKeys(registered).map((name) => `${name}:${strings(registered[name] ?? null)}`);
  return `(checkpoint.checkpointData){PodDeviceEntries:([]checkpoint.PodDevicesEntry)${all} RegisteredDevices:(map[string][]string)map[${known.join(' ')}]}`;
}

/** The text of the file. */
export function encodeDeviceCheckpoint({ entries, registered }: DeviceCheckpoint): string {
  const raw: RawData = {
    PodDeviceEntries:
      entries.length === 0
        ? null
        : entries.map(({ podUid, container, resource, ids, answer }) => ({
            PodUID: podUid,
            ContainerName: container,
            ResourceName: resource,
            DeviceIDs: Object.fromEntries([...ids].map(([node, own]) => [`${node}`, [...own]])),
            AllocResp: encodeAnswer(answer).toString('base64'),
          })),
    RegisteredDevices: Object.fromEntries(
      [...registered].sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, ids]) => [name, [...ids]]),
    ),
  };
  return JSON.stringify({ Data: raw, Checksum: fnv32a(Buffer.from(dump(raw))) });
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

const texts = (value: unknown): string[] =>
  Array.isArray(value) ? value.filter((item): item is string => typeof item === 'string') : [];

/** Reads the text back. Throws CheckpointError. */
export function decodeDeviceCheckpoint(text: string): DeviceCheckpoint {
  let file: unknown;
  try {
    file = JSON.parse(text);
  } catch (error) {
    throw new CheckpointError(`not JSON: ${(error as Error).message}`, { cause: error });
  }
  const data = isObject(file) ? file['Data'] : undefined;
  if (!isObject(data)) throw new CheckpointError('it has no data');
  const entries = Array.isArray(data['PodDeviceEntries']) ? data['PodDeviceEntries'].filter(isObject) : [];
  const registered = isObject(data['RegisteredDevices']) ? data['RegisteredDevices'] : {};
  return {
    entries: entries.map((entry) => ({
      podUid: String(entry['PodUID']),
      container: String(entry['ContainerName']),
      resource: String(entry['ResourceName']),
      ids: new Map(
        Object.entries(isObject(entry['DeviceIDs']) ? entry['DeviceIDs'] : {}).map(([node, own]) => [
          Number(node),
          texts(own),
        ]),
      ),
      answer: decodeAnswer(Buffer.from(String(entry['AllocResp'] ?? ''), 'base64')),
    })),
    registered: new Map(Object.entries(registered).map(([name, ids]) => [name, texts(ids)])),
  };
}
