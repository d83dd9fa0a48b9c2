// From counters to usage: what was used between two measurements, or since a young container started. Pure.
// Behaviour: metrics-server's storage of points.
import type { UsagePoint } from './parse-resource-metrics.ts';

export interface Usage {
  /** Processor time per second, in billionths of a processor. */
  cpuNano: bigint;
  memoryBytes: number;
  /** The end of the time that it was measured over, and its length. */
  atMs: number;
  windowMs: number;
}

/** A container that is this young is measured from its start; a younger one is not measured yet. */
const freshMs = { least: 10_000, most: 60_000 };

function usageBetween(cpuSeconds: number, fromMs: number, to: UsagePoint): Usage {
  const windowMs = to.atMs - fromMs;
  const cpuNano = BigInt(Math.round((cpuSeconds / windowMs) * 1e12));
  return { cpuNano, memoryBytes: to.memoryBytes, atMs: to.atMs, windowMs };
}

/** Undefined where one measurement is not enough. A counter that fell belongs to another container. */
export function computeUsage(previous: UsagePoint | undefined, latest: UsagePoint): Usage | undefined {
  const isSame =
    previous !== undefined &&
    previous.atMs < latest.atMs &&
    latest.startedAtMs <= previous.atMs &&
    latest.cpuSeconds >= previous.cpuSeconds;
  if (isSame) return usageBetween(latest.cpuSeconds - previous.cpuSeconds, previous.atMs, latest);
  const ageMs = latest.startedAtMs === 0 ? 0 : latest.atMs - latest.startedAtMs;
  if (ageMs < freshMs.least || ageMs > freshMs.most) return undefined;
  return usageBetween(latest.cpuSeconds, latest.startedAtMs, latest);
}
