// dra_manager_state: which claims are prepared for which pods, with the devices that drivers told, in kubelet's format
// (pkg/kubelet/cm/dra/state). In memory, with the file replaced as a whole.
import { readFile, rename } from 'node:fs/promises';
import { crc32 } from 'node:zlib';
import type { Logger } from 'pino';
import { replaceFile } from '#kube/process/replace-file.ts';

/** A device of a claim. */
export interface ClaimDevice {
  PoolName: string;
  DeviceName: string;
  ShareID?: string;
  RequestNames: string[];
  CDIDeviceIDs: string[];
}

/** A claim that is prepared, or about to be. */
export interface ClaimInfo {
  ClaimUID: string;
  ClaimName: string;
  Namespace: string;
  PodUIDs: Record<string, object>;
  DriverState: Record<string, { Devices: ClaimDevice[] }>;
}

export interface ClaimStore {
  get(uid: string): ClaimInfo | undefined;
  all(): readonly ClaimInfo[];
  ofPod(podUid: string): ClaimInfo[];
  /** Resolves when the file has it. */
  set(info: ClaimInfo): Promise<void>;
  remove(uid: string): Promise<void>;
}

function encode(claims: readonly ClaimInfo[]): string {
  const Data = JSON.stringify({
    kind: 'DRACheckpoint',
    apiVersion: 'checkpoint.dra.kubelet.k8s.io/v1',
    ClaimInfoStateList: claims,
  });
  return JSON.stringify({ Data, Checksum: crc32(Data) });
}

function isClaim(value: unknown): value is ClaimInfo {
  if (typeof value !== 'object' || value === null) return false;
  const { ClaimUID, PodUIDs, DriverState } = value as Partial<ClaimInfo>;
  return typeof ClaimUID === 'string' && typeof PodUIDs === 'object' && typeof DriverState === 'object';
}

function decode(text: string): ClaimInfo[] {
  const { Data, Checksum } = JSON.parse(text) as { Data?: unknown; Checksum?: unknown };
  if (typeof Data !== 'string' || Checksum !== crc32(Data)) throw new Error('its checksum does not fit');
  const { ClaimInfoStateList: list } = JSON.parse(Data) as { ClaimInfoStateList?: unknown };
  return Array.isArray(list) ? list.filter(isClaim) : [];
}

/** Reads `path`, where it is there; a damaged file is put aside with one warning. */
export async function openClaimStore(path: string, logger: Logger): Promise<ClaimStore> {
  const claims = new Map<string, ClaimInfo>();
  try {
    for (const claim of decode(await readFile(path, 'utf8'))) claims.set(claim.ClaimUID, claim);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') {
      const aside = `${path}.damaged`;
      await rename(path, aside).catch(() => undefined);
      logger.warn({ err: error, path, aside }, 'cannot use the checkpoint of claims: it is put aside');
    }
  }
  let writing: Promise<void> = Promise.resolve();

  function save(): Promise<void> {
    writing = writing.catch(() => undefined).then(() => replaceFile(path, encode([...claims.values()])));
    return writing;
  }

  return {
    get: (uid) => claims.get(uid),
    all: () => [...claims.values()],
    ofPod: (podUid) => [...claims.values()].filter(({ PodUIDs }) => podUid in PodUIDs),
    set(info) {
      claims.set(info.ClaimUID, info);
      return save();
    },
    remove(uid) {
      claims.delete(uid);
      return save();
    },
  };
}
