// Which images go: those unused for longest first, never one that is pinned or in use, nor one that has just come
// (pkg/kubelet/images/image_gc_manager.go). Pure.

/** What is known of one image. Times are wall clock; an image that was there before the agent has been seen at 0. */
export interface ImageRecord {
  id: string;
  bytes: number;
  pinned: boolean;
  inUse: boolean;
  firstSeenMs: number;
  /** 0 when no container used it while the agent ran. */
  lastUsedMs: number;
}

/** imageGCHighThresholdPercent and its neighbours of the configuration. */
export interface ImageGarbagePolicy {
  highPercent: number;
  lowPercent: number;
  minAgeMs: number;
  /** Unused for longer, an image goes without need; 0: never. */
  maxAgeMs: number;
}

/** Bytes to free so that no more than the low share is in use; 0 while no more than the high share is. */
export function bytesToFree(
  { highPercent, lowPercent }: ImageGarbagePolicy,
  { available, capacity }: { available: number; capacity: number },
): number {
  if (highPercent >= 100 || capacity <= 0) return 0;
  const usedPercent = 100 - Math.trunc((available * 100) / capacity);
  if (usedPercent < highPercent) return 0;
  return Math.max(Math.trunc((capacity * (100 - lowPercent)) / 100) - available, 0);
}

/** Images that may go, in the order in which they should. */
export function selectUnused(images: readonly ImageRecord[], minAgeMs: number, nowMs: number): ImageRecord[] {
  return images
    .filter(({ pinned, inUse, firstSeenMs }) => !pinned && !inUse && nowMs - firstSeenMs >= minAgeMs)
    .sort((a, b) => a.lastUsedMs - b.lastUsedMs || a.firstSeenMs - b.firstSeenMs);
}

/** Images that nobody used for so long that they go without need; `sinceMs` is when the agent began to look. */
export function selectAged(
  images: readonly ImageRecord[],
  { maxAgeMs, minAgeMs }: ImageGarbagePolicy,
  { nowMs, sinceMs }: { nowMs: number; sinceMs: number },
): ImageRecord[] {
  if (maxAgeMs <= 0) return [];
  // What happened before the agent ran is not known: its own start counts as the last use.
  return selectUnused(images, minAgeMs, nowMs).filter(
    ({ lastUsedMs, firstSeenMs }) => nowMs - Math.max(lastUsedMs, firstSeenMs, sinceMs) > maxAgeMs,
  );
}
