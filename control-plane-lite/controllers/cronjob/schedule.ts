// Cron schedules: when a schedule is due, in its time zone. Pure.
import { Cron } from 'croner';
import { parseDurationMs } from '#kube/process/flags.ts';

export interface Schedule {
  /** The first time after `afterMs`; undefined when there is none. */
  next(afterMs: number): number | undefined;
}

/** Parses five fields, a name such as @daily, or `@every 90m`. Throws an Error that says what is wrong. */
export function parseSchedule(text: string, timeZone: string | undefined): Schedule {
  const every = /^@every (.+)$/.exec(text.trim());
  if (every !== null) {
    const periodMs = Math.max(1000, parseDurationMs(every[1] ?? ''));
    return { next: (afterMs) => afterMs + periodMs };
  }
  const cron = new Cron(text, { paused: true, mode: '5-part', timezone: timeZone ?? 'Etc/UTC' });
  return { next: (afterMs) => cron.nextRun(new Date(afterMs))?.getTime() };
}

/** More missed times than this are a sign of a broken clock or a long stop. */
export const manyMissed = 100;
const mostCounted = 10_000;

/** How far back to look for the last time due, after a stop too long to count through. */
const lookbacksMs = [3_600_000, 86_400_000, 31 * 86_400_000, 366 * 86_400_000];

interface DueTimes {
  lastMs: number | undefined;
  count: number;
  nextMs: number | undefined;
}

function countFrom(schedule: Schedule, fromMs: number, nowMs: number): DueTimes {
  let lastMs: number | undefined;
  let count = 0;
  let at = schedule.next(fromMs);
  while (at !== undefined && at <= nowMs && count <= mostCounted) {
    lastMs = at;
    count += 1;
    at = schedule.next(at);
  }
  return { lastMs, count, nextMs: at };
}

/** The last time due in (`fromMs`, `nowMs`], how many were due (counted up to a limit), and the next one. */
export function dueTimes(schedule: Schedule, fromMs: number, nowMs: number): DueTimes {
  const counted = countFrom(schedule, fromMs, nowMs);
  if (counted.count <= mostCounted) return counted;
  for (const lookbackMs of lookbacksMs) {
    const { lastMs, nextMs } = countFrom(schedule, nowMs - lookbackMs, nowMs);
    if (lastMs !== undefined) return { lastMs, count: counted.count, nextMs };
  }
  return { ...counted, nextMs: schedule.next(nowMs) };
}
