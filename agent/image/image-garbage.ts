// Removes images that nobody uses: every five minutes when the disk of images is fuller than it should be or an image
// has been unused for too long, and all of them when the node is short of disk (pkg/kubelet/images/image_gc_manager.go).
import { statfs } from 'node:fs/promises';
import type { Logger } from 'pino';
import type { Clock } from '#kube/process/clock.ts';
import type { ImageService } from '../cri/image-service.ts';
import type { RuntimeService } from '../cri/runtime-service.ts';
import {
  bytesToFree,
  type ImageGarbagePolicy,
  type ImageRecord,
  selectAged,
  selectUnused,
} from './plan-image-garbage.ts';
import { isSameImage, sandboxImageOf } from './sandbox-image.ts';

const periodMs = 300_000;
/** Images are looked at more often than they are removed, so that their use is known. */
const detectMs = 60_000;

/** Records an event about the node. */
export type RecordNodeEvent = (type: 'Normal' | 'Warning', reason: string, message: string) => void;

export interface ImageGarbageOptions {
  images: ImageService;
  runtime: Pick<RuntimeService, 'listContainers' | 'status'>;
  policy: ImageGarbagePolicy;
  record: RecordNodeEvent;
  clock: Clock;
  logger: Logger;
  /** Images that nothing could bring back, by name. */
  isKept?(name: string): boolean;
  /** Free and all bytes of the disk of images; absent: as the file system says. */
  measure?(path: string): Promise<{ available: number; capacity: number }>;
  /** Told of each image that was removed, and why. */
  removed?(reason: 'space' | 'age'): void;
}

/** More had to be freed than could be. */
export class ImageGarbageError extends Error {
  readonly code = 'IMAGE_GARBAGE';

  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'ImageGarbageError';
  }
}

export interface ImageGarbage {
  /** Removes what may go by the policy. Throws ImageGarbageError when that is not enough. */
  collect(signal: AbortSignal): Promise<void>;
  /** Removes every image that nobody uses. Returns the bytes they had. */
  removeUnused(signal: AbortSignal): Promise<number>;
  run(signal: AbortSignal): Promise<void>;
}

/** Creates the collector. */
export function createImageGarbage(options: ImageGarbageOptions): ImageGarbage {
  const { images, runtime, policy, clock, logger } = options;
  const known = new Map<string, { firstSeenMs: number; lastUsedMs: number }>();
  const sinceMs = clock.now();
  let begun = false;

  async function detect(signal: AbortSignal): Promise<ImageRecord[]> {
    const nowMs = clock.now();
    // Containers that have ended may be looked into: their images stay as long as they do.
    const [list, containers, { info }] = await Promise.all([
      images.listImages(signal),
      runtime.listContainers(undefined, signal),
      runtime.status(signal, true),
    ]);
    const sandboxImage = sandboxImageOf(info);
    const used = new Set(containers.flatMap(({ imageRef, imageId, image }) => [imageRef, imageId, image?.image ?? '']));
    const records = list.map(({ id, size, pinned, repoTags, repoDigests }): ImageRecord => {
      const before = known.get(id) ?? { firstSeenMs: begun ? nowMs : 0, lastUsedMs: 0 };
      const names = [id, ...repoTags, ...repoDigests];
      const isSandbox = sandboxImage !== undefined && names.some((name) => isSameImage(name, sandboxImage));
      const inUse = names.some((name) => used.has(name));
      const { firstSeenMs } = before;
      const isPinned = pinned || isSandbox || names.some((name) => options.isKept?.(name) === true);
      const record = {
        id,
        bytes: size,
        pinned: isPinned,
        inUse,
        firstSeenMs,
        lastUsedMs: inUse ? nowMs : before.lastUsedMs,
      };
      known.set(id, record);
      return record;
    });
    const ids = new Set(list.map(({ id }) => id));
    for (const id of known.keys()) if (!ids.has(id)) known.delete(id);
    begun = true;
    return records;
  }

  async function remove(records: readonly ImageRecord[], wanted: number, why: 'space' | 'age', signal: AbortSignal) {
    let freed = 0;
    const failures: unknown[] = [];
    for (const { id, bytes } of records) {
      if (freed >= wanted) break;
      signal.throwIfAborted();
      try {
        await images.removeImage({ image: id }, signal);
        known.delete(id);
        freed += bytes;
        options.removed?.(why);
        logger.info({ image: id, bytes, why }, 'removed an image that nobody uses');
      } catch (error) {
        failures.push(error);
        logger.warn({ err: error, image: id }, 'cannot remove an image');
      }
    }
    return { freed, failures };
  }

  async function disk(signal: AbortSignal): Promise<{ available: number; capacity: number }> {
    const info = await images.imageFsInfo(signal);
    const path = info.imageFilesystems[0]?.fsId?.mountpoint;
    if (path === undefined) throw new ImageGarbageError('the runtime does not tell where images are');
    if (options.measure !== undefined) return options.measure(path);
    const { bavail, bsize, blocks } = await statfs(path);
    return { available: Math.min(bavail, blocks) * bsize, capacity: blocks * bsize };
  }

  async function collect(signal: AbortSignal): Promise<void> {
    const records = await detect(signal);
    const nowMs = clock.now();
    const aged = selectAged(records, policy, { nowMs, sinceMs });
    await remove(aged, Number.POSITIVE_INFINITY, 'age', signal);
    const space = await disk(signal);
    if (space.capacity === 0) {
      options.record('Warning', 'InvalidDiskCapacity', 'invalid capacity 0 on image filesystem');
      throw new ImageGarbageError('invalid capacity 0 on image filesystem');
    }
    const wanted = bytesToFree(policy, space);
    if (wanted === 0) return;
    const unused = selectUnused(records, policy.minAgeMs, nowMs).filter((item) => !aged.includes(item));
    const { freed, failures } = await remove(unused, wanted, 'space', signal);
    if (freed >= wanted) return;
    const message = `Failed to garbage collect required amount of images. Attempted to free ${wanted} bytes, but only found ${freed} bytes eligible to free.`;
    options.record('Warning', 'FreeDiskSpaceFailed', message);
    throw new ImageGarbageError(message, failures.length === 0 ? undefined : { cause: failures[0] });
  }

  return {
    collect,
    async removeUnused(signal) {
      const unused = selectUnused(await detect(signal), policy.minAgeMs, clock.now());
      const { freed } = await remove(unused, Number.POSITIVE_INFINITY, 'space', signal);
      return freed;
    },
    async run(signal) {
      let failedBefore = false;
      for (let elapsedMs = 0; !signal.aborted; elapsedMs += detectMs) {
        try {
          if (elapsedMs % periodMs !== 0) await detect(signal);
          else {
            await collect(signal);
            failedBefore = false;
          }
        } catch (error) {
          if (signal.aborted) return;
          // Once is nothing yet: it most often mends itself.
          const { message } = error as Error;
          if (failedBefore && elapsedMs % periodMs === 0) options.record('Warning', 'ImageGCFailed', message);
          if (elapsedMs % periodMs === 0) failedBefore = true;
          logger.warn({ err: error }, 'cannot remove images that nobody uses');
        }
        await clock.sleep(detectMs, signal).catch(() => undefined);
      }
    },
  };
}
