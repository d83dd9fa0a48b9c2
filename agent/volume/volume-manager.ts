// Prepares the volumes of pods, keeps those that follow something up to date, and takes everything away again. What is
// on disk is the only state that counts: after a restart the same call finds its own work done.
import { join } from 'node:path';
import type { Logger } from 'pino';
import type { Pod, Volume } from '#kube/api/generated/core-v1.ts';
import type { Clock } from '#kube/process/clock.ts';
import { containersOf } from '../container/pod-containers.ts';
import type { ClaimReader } from './claim-reader.ts';
import type { VolumeUsage } from './measure-usage.ts';
import { checkMountOptions } from './mount-options.ts';
import type { Mounter } from './mounter.ts';
import { VolumeError } from './payload.ts';
import { podDirectory } from './pod-paths.ts';
import { listDirectory, removeTree } from './remove-tree.ts';
import { type PreparedVolume, uidOf, type VolumeRequest } from './volume-kind.ts';
import type { VolumeKinds } from './volume-kinds.ts';

export type { PreparedVolume } from './volume-kind.ts';

/** Storage behind claims is looked at again after this time: it may have grown. */
const recheckMs = 45_000;

/** A volume that keeps a pod from starting. */
export interface BlockingVolume {
  volume: string;
  sinceMs: number;
  error: string;
}

export interface VolumeManagerOptions {
  rootDir: string;
  mounter: Mounter;
  kinds: VolumeKinds;
  claims: ClaimReader;
  clock: Clock;
  logger: Logger;
  record(pod: Pod, type: string, reason: string, message: string): void;
}

export interface VolumeManager {
  /** Prepares every volume that containers use. Throws VolumeError after reporting each failure. */
  prepare(pod: Pod, signal: AbortSignal): Promise<Map<string, PreparedVolume>>;
  /** The volumes that could not be prepared when the pod was last looked at. */
  blocking(podUid: string): BlockingVolume[];
  /** The pod's volumes that are ready, each with how to measure it. */
  mounted(podUid: string): MountedVolume[];
  /** Unmounts and removes the pod's volumes; termination messages stay to be read again. */
  teardown(podUid: string): Promise<void>;
  /** Removes all files of a pod that is gone. */
  removeDirectory(podUid: string): Promise<void>;
  /** Uids of the pods that have a directory. */
  listPods(): Promise<string[]>;
}

/** A volume that is ready. */
export interface MountedVolume {
  request: VolumeRequest;
  /** Undefined where nobody can tell. */
  measure(): Promise<VolumeUsage | undefined>;
}

interface ReadyVolume {
  prepared: PreparedVolume;
  request: VolumeRequest;
  checkedAtMs: number;
}

interface PodVolumes {
  ready: Map<string, ReadyVolume>;
  blocking: Map<string, BlockingVolume>;
}

/** Volumes that some container mounts or gets as a device; images are mounted with their containers. */
function usedVolumes(pod: Pod): Volume[] {
  const used = new Set(
    containersOf(pod).flatMap(({ container: { volumeMounts = [], volumeDevices = [], env = [] } }) => [
      ...[...(volumeMounts ?? []), ...(volumeDevices ?? [])].map(({ name }) => name),
      ...(env ?? []).flatMap(({ valueFrom }) => valueFrom?.fileKeyRef?.volumeName ?? []),
    ]),
  );
  return (pod.spec.volumes ?? []).filter(({ name, image }) => used.has(name) && image === undefined);
}

const listed = (names: readonly string[]): string => `[${[...names].sort().join(' ')}]`;

/** Creates the manager. */
export function createVolumeManager(options: VolumeManagerOptions): VolumeManager {
  const { rootDir, mounter, kinds, claims, clock, logger } = options;
  const pods = new Map<string, PodVolumes>();

  function stateOf(uid: string): PodVolumes {
    const known = pods.get(uid) ?? { ready: new Map(), blocking: new Map() };
    pods.set(uid, known);
    return known;
  }

  /** The volume with the storage behind it, as it is now or was known not long ago. */
  async function resolve(
    pod: Pod,
    volume: Volume,
    ready: ReadyVolume | undefined,
    signal: AbortSignal,
  ): Promise<VolumeRequest> {
    const isFresh = ready !== undefined && clock.monotonicMs() - ready.checkedAtMs < recheckMs;
    if (isFresh) return { ...ready.request, pod };
    try {
      const bound = await claims.read(pod, volume, signal);
      const specName = bound?.volume.metadata.name ?? volume.name;
      return { pod, volume, bound, specName };
    } catch (error) {
      // What is mounted stays of use while its claim is being deleted or the API server is away.
      if (ready !== undefined && !signal.aborted) return { ...ready.request, pod };
      throw error;
    }
  }

  async function setUp(request: VolumeRequest, state: PodVolumes, signal: AbortSignal): Promise<PreparedVolume> {
    const kind = kinds.find(request);
    const { name } = request.volume;
    const ready = state.ready.get(name);
    const progress = (waitingFor: string) => block(state, name, waitingFor);
    if (ready === undefined) {
      progress(state.blocking.get(name)?.error ?? 'is being prepared');
      checkMountOptions(request, kind.plugin);
      kinds.check(request);
      await checkSoleUse(request);
      return kind.setUp(request, signal, progress);
    }
    if (kind.isLive?.(request) !== true) return ready.prepared;
    try {
      return await kind.setUp(request, signal, () => undefined);
    } catch (error) {
      signal.throwIfAborted();
      // It can be used as it is; what could not be brought up to date is tried again with the next look at the pod.
      reportFailure(request, error);
      return ready.prepared;
    }
  }

  /** Whether another pod has the volume, also one that an agent before this one prepared. */
  async function isHeldByOther(uid: string, specName: string): Promise<boolean> {
    const known = [...pods].filter(([other]) => other !== uid).flatMap(([, { ready }]) => [...ready.values()]);
    if (known.some(({ request }) => request.specName === specName)) return true;
    for (const other of await listDirectory(join(rootDir, 'pods'))) {
      if (other === uid) continue;
      for (const place of ['volumes', 'volumeDevices'].map((name) => join(podDirectory(rootDir, other), name))) {
        for (const plugin of await listDirectory(place)) {
          if ((await listDirectory(join(place, plugin))).includes(specName)) return true;
        }
      }
    }
    return false;
  }

  /** Throws when another pod of this node has a volume that only one pod may have. */
  async function checkSoleUse({ pod, bound, specName }: VolumeRequest): Promise<void> {
    if (bound?.volume.spec.accessModes?.includes('ReadWriteOncePod') !== true) return;
    if (!(await isHeldByOther(uidOf(pod), specName))) return;
    const message = 'volume uses the ReadWriteOncePod access mode and is already in use by another pod';
    throw new VolumeError(message, { step: 'MountVolume failed' });
  }

  /** Tells the pod's events, and answers what it told. */
  function reportFailure({ pod, volume, specName }: VolumeRequest, error: unknown): string {
    const step = (error instanceof VolumeError ? error.step : undefined) ?? 'MountVolume.SetUp failed';
    const message = `${step} for volume "${specName}" : ${(error as Error).message}`;
    logger.warn({ err: error, pod: pod.metadata.name, volume: volume.name }, 'a volume is not ready');
    options.record(pod, 'Warning', 'FailedMount', message);
    return message;
  }

  function block(state: PodVolumes, volume: string, error: string): void {
    const sinceMs = state.blocking.get(volume)?.sinceMs ?? clock.now();
    state.blocking.set(volume, { volume, sinceMs, error });
  }

  async function prepare(pod: Pod, signal: AbortSignal): Promise<Map<string, PreparedVolume>> {
    const state = stateOf(uidOf(pod));
    const prepared = new Map<string, PreparedVolume>();
    const unknown: { name: string; message: string }[] = [];

    async function prepareOne(volume: Volume): Promise<void> {
      const ready = state.ready.get(volume.name);
      let request: VolumeRequest;
      try {
        request = await resolve(pod, volume, ready, signal);
        kinds.find(request);
      } catch (error) {
        signal.throwIfAborted();
        unknown.push({ name: volume.name, message: (error as Error).message });
        return;
      }
      try {
        const result = await setUp(request, state, signal);
        prepared.set(volume.name, result);
        const isOld = ready !== undefined && request.bound === ready.request.bound;
        const checkedAtMs = isOld ? ready.checkedAtMs : clock.monotonicMs();
        state.ready.set(volume.name, { prepared: result, request, checkedAtMs });
        state.blocking.delete(volume.name);
      } catch (error) {
        signal.throwIfAborted();
        block(state, volume.name, reportFailure(request, error));
      }
    }

    const used = usedVolumes(pod);
    await Promise.all(used.map(prepareOne));
    signal.throwIfAborted();
    if (unknown.length > 0) {
      const unmounted = used.map(({ name }) => name).filter((name) => !prepared.has(name));
      const names = unknown.map(({ name }) => name);
      const why = unknown.map(({ message }) => message).join('; ');
      const details = `unmounted volumes=${listed(unmounted)}, unattached volumes=[], failed to process volumes=${listed(names)}: ${why}`;
      options.record(pod, 'Warning', 'FailedMount', `Unable to attach or mount volumes: ${details}`);
      for (const { name, message } of unknown) block(state, name, message);
    }
    const failures = [...state.blocking.values()].map(({ volume, error }) => `${volume}: ${error}`);
    if (failures.length > 0) throw new VolumeError(`volumes not ready: ${failures.join('; ')}`);
    return prepared;
  }

  async function unmountBelow(directory: string): Promise<void> {
    for (const mount of await mounter.listBelow(directory)) {
      logger.debug({ mount }, 'unmounting');
      await mounter.unmount(mount);
    }
  }

  async function teardown(podUid: string): Promise<void> {
    const directory = podDirectory(rootDir, podUid);
    await unmountBelow(join(directory, 'volume-subpaths'));
    await kinds.release(podUid);
    await unmountBelow(directory);
    await kinds.remove(podUid);
    for (const name of ['volumes', 'volumeDevices', 'volume-subpaths', 'plugins']) {
      await removeTree(join(directory, name));
    }
    pods.delete(podUid);
  }

  return {
    prepare,
    blocking: (podUid) => [...(pods.get(podUid)?.blocking.values() ?? [])],
    mounted: (podUid) =>
      [...(pods.get(podUid)?.ready.values() ?? [])].map(({ request, prepared }) => ({
        request,
        measure: async () => kinds.find(request).measure?.(request, prepared),
      })),
    teardown,
    async removeDirectory(podUid) {
      await teardown(podUid);
      await removeTree(podDirectory(rootDir, podUid));
    },
    listPods: () => listDirectory(join(rootDir, 'pods')),
  };
}
