// What the kernel's log says about processes that were killed because memory ran out. Pure.

/** One record of /dev/kmsg. */
export interface KernelRecord {
  sequence: number;
  text: string;
}

/** A process that was killed. */
export interface OomKill {
  /** Its cgroup, and the one whose limit was passed; '/' where the whole machine ran out. */
  cgroup: string;
  limitedCgroup: string;
  process: string;
  pid: number;
}

/** Reads one record; undefined for what is none. */
export function parseKernelRecord(bytes: string): KernelRecord | undefined {
  const match = /^\d+,(\d+),[^;]*;([^\n]*)/.exec(bytes);
  return match === null ? undefined : { sequence: Number(match[1]), text: match[2] ?? '' };
}

/** The kill that a record tells of, if it does. */
export function parseOomKill(text: string): OomKill | undefined {
  if (!text.startsWith('oom-kill:')) return undefined;
  const field = (name: string) => new RegExp(`[:,]${name}=([^,]*)`).exec(text)?.[1];
  // The name of the process is its own to choose: it may have commas.
  const task = /,task=(.*),pid=(\d+),uid=\d+$/.exec(text);
  if (task === null) return undefined;
  const isGroup = field('constraint') === 'CONSTRAINT_MEMCG';
  return {
    cgroup: field('task_memcg') ?? '/',
    limitedCgroup: isGroup ? (field('oom_memcg') ?? '/') : '/',
    process: task[1] ?? '',
    pid: Number(task[2]),
  };
}
