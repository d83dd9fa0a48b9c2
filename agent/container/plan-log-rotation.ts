// Which log files are rotated, compressed and removed (pkg/kubelet/logs/container_log_manager.go). Pure.

/** The suffix of a rotated log: the time, to the second, perhaps compressed. */
const rotatedPattern = /\.\d{8}-\d{6}(?:\.gz)?$/;

/** What to do with the rotated files of one log. */
export interface RotatedPlan {
  /** Names of the oldest files, beyond what is kept, and of half-written ones. */
  remove: string[];
  /** Names of files to compress: all but the newest, which a reader may still be following. */
  compress: string[];
}

/** `names` are the entries of the log's directory; `log` is the name of the current file. */
export function planRotatedLogs(log: string, names: readonly string[], maxFiles: number): RotatedPlan {
  const own = names.filter((name) => name.startsWith(`${log}.`));
  const partial = own.filter((name) => name.endsWith('.tmp'));
  const rotated = own.filter((name) => rotatedPattern.test(name)).sort();
  // The current file counts, and so does the one that is about to be rotated.
  const keep = Math.max(maxFiles - 2, 0);
  const excess = rotated.slice(0, Math.max(rotated.length - keep, 0));
  const kept = rotated.slice(excess.length);
  return { remove: [...partial, ...excess], compress: kept.filter((name) => !name.endsWith('.gz')) };
}

/**
 * The name under which the current file is put aside: the time to the second, or where `names` has that already, the
 * first later one, so that names sort in the order of the files.
 */
export function rotatedName(log: string, nowMs: number, names: readonly string[] = []): string {
  const taken = names.filter((name) => name.startsWith(`${log}.`)).map((name) => name.replace(/\.(gz|tmp)$/g, ''));
  for (let atMs = nowMs; ; atMs += 1000) {
    const digits = new Date(atMs).toISOString().replaceAll(/[-:]/g, '').slice(0, 15).replace('T', '-');
    const name = `${log}.${digits}`;
    if (taken.every((other) => other < name)) return name;
  }
}

/** What two looks at a log have shown. */
export interface LogGrowth {
  sizeBytes: number;
  grownBytes: number;
  elapsedMs: number;
}

/** The shortest time between two looks at a log that is written at full speed. */
const shortestLookMs = 200;

/** In how many milliseconds to look again: at half of the time in which the log would grow too large. */
export function computeNextLookMs(
  { sizeBytes, grownBytes, elapsedMs }: LogGrowth,
  maxBytes: number,
  periodMs: number,
): number {
  if (grownBytes <= 0) return periodMs;
  const bytesPerMs = grownBytes / Math.max(elapsedMs, 1);
  const halfwayMs = Math.max(maxBytes - sizeBytes, 0) / bytesPerMs / 2;
  return Math.min(Math.max(halfwayMs, shortestLookMs), periodMs);
}
