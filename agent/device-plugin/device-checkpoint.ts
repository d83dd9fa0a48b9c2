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
  DeviceIDs: Record<string, string[] | null> | null;
  AllocResp: string | null;
}

interface RawData {
  PodDeviceEntries: RawEntry[] | null;
  RegisteredDevices: Record<string, string[] | null> | null;
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
  const bytes = (text: string | null) =>
    `([]uint8)${text === null ? '<nil>' : `[${Buffer.from(text, 'base64').join(' ')}]`}`;
  const sortedKeys = (map: object) => Object.keys(map).sort((a, b) => (a < b ? -1 : 1));
  const entry = ({ PodUID, ContainerName, ResourceName, DeviceIDs, AllocResp }: RawEntry) => {
    const nodes = Object.keys(DeviceIDs ?? {})
      .map(Number)
      .sort((a, b) => a - b)
      .map((node) => `${node}:${strings(DeviceIDs?.[`${node}`] ?? null)}`);
    const devices = `(checkpoint.DevicesPerNUMA)${DeviceIDs === null ? '<nil>' : `map[${nodes.join(' ')}]`}`;
    return `{PodUID:(string)${PodUID} ContainerName:(string)${ContainerName} ResourceName:(string)${ResourceName} DeviceIDs:${devices} AllocResp:${bytes(AllocResp)}}`;
  };
  const all = entries === null ? '<nil>' : `[${entries.map(entry).join(' ')}]`;
  const names = registered === null ? [] : sortedKeys(registered);
  const known = names.map((name) => `${name}:${strings(registered?.[name] ?? null)}`);
  return `(checkpoint.checkpointData){PodDeviceEntries:([]checkpoint.PodDevicesEntry)${all} RegisteredDevices:(map[string][]string)${registered === null ? '<nil>' : `map[${known.join(' ')}]`}}`;
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

const texts = (value: unknown): string[] | null =>
  Array.isArray(value) ? value.filter((item): item is string => typeof item === 'string') : null;

const lists = (value: unknown): Record<string, string[] | null> | null =>
  isObject(value) ? Object.fromEntries(Object.entries(value).map(([key, item]) => [key, texts(item)])) : null;

/** The data as Go would hold it: what is null differs from what is empty. */
function rawOf(data: Record<string, unknown>): RawData {
  const entries = data['PodDeviceEntries'];
  return {
    PodDeviceEntries: Array.isArray(entries)
      ? entries.filter(isObject).map((entry) => ({
          PodUID: String(entry['PodUID'] ?? ''),
          ContainerName: String(entry['ContainerName'] ?? ''),
          ResourceName: String(entry['ResourceName'] ?? ''),
          DeviceIDs: lists(entry['DeviceIDs']),
          AllocResp: typeof entry['AllocResp'] === 'string' ? entry['AllocResp'] : null,
        }))
      : null,
    RegisteredDevices: lists(data['RegisteredDevices']),
  };
}

/** Reads the text back. Throws CheckpointError. */
export function decodeDeviceCheckpoint(text: string): DeviceCheckpoint {
  let file: unknown;
  try {
    file = JSON.parse(text);
  } catch (error) {
    throw new CheckpointError(`not JSON: ${(error as Error).message}`, { cause: error });
  }
  const data = isObject(file) ? file['Data'] : undefined;
  if (!isObject(file) || !isObject(data)) throw new CheckpointError('it has no data');
  const raw = rawOf(data);
  if (file['Checksum'] !== fnv32a(Buffer.from(dump(raw)))) throw new CheckpointError('its checksum does not fit');
  return {
    entries: (raw.PodDeviceEntries ?? []).map((entry) => ({
      podUid: entry.PodUID,
      container: entry.ContainerName,
      resource: entry.ResourceName,
      ids: new Map(Object.entries(entry.DeviceIDs ?? {}).map(([node, own]) => [Number(node), own ?? []])),
      answer: decodeAnswer(Buffer.from(entry.AllocResp ?? '', 'base64')),
    })),
    registered: new Map(Object.entries(raw.RegisteredDevices ?? {}).map(([name, ids]) => [name, ids ?? []])),
  };
}
