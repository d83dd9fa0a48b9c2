// Tells of every process that was killed because memory ran out: in a container as an event of its pod and a count, on
// the machine as a whole as an event of the node (pkg/kubelet/oom). Read from the kernel's log, which has them all.
import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import type { Logger } from 'pino';
import type { Pod } from '#kube/api/generated/core-v1.ts';
import type { Clock } from '#kube/process/clock.ts';
import type { PodRuntime } from '../runtime-cache/pod-runtime.ts';
import type { RecordPodEvent } from '../sync/pod-events.ts';
import type { OomCounts } from './oom-counts.ts';
import { type OomKill, parseKernelRecord, parseOomKill } from './parse-kernel-log.ts';

const periodMs = 2000;
const recordBytes = 8192;

export interface OomWatcherOptions {
  /** /dev/kmsg but in tests. */
  path: string;
  counts: OomCounts;
  runtimes(): readonly PodRuntime[];
  podOf(uid: string): Pod | undefined;
  recordPod: RecordPodEvent;
  recordNode(type: 'Warning', reason: string, message: string): void;
  clock: Clock;
  logger: Logger;
}

/** Records that are there, one for each read; the log says by an error that there are no more. */
async function readRecords(file: FileHandle, seen: (bytes: string) => void): Promise<void> {
  const buffer = Buffer.alloc(recordBytes);
  for (;;) {
    try {
      const { bytesRead } = await file.read(buffer, 0, recordBytes, null);
      if (bytesRead === 0) return;
      seen(buffer.toString('utf8', 0, bytesRead));
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'EAGAIN') return;
      // The next record was overwritten before it was read: the one after it is still there.
      if (code !== 'EPIPE') throw error;
    }
  }
}

/** Runs until the signal is aborted. */
export async function runOomWatcher(options: OomWatcherOptions, signal: AbortSignal): Promise<void> {
  const { counts, clock, logger } = options;

  function tell(kill: OomKill): void {
    if (kill.limitedCgroup === '/') {
      const message = `System OOM encountered, victim process: ${kill.process}, pid: ${kill.pid}`;
      options.recordNode('Warning', 'SystemOOM', message);
    }
    for (const { uid, containers } of options.runtimes()) {
      const container = containers.find(({ id }) => kill.cgroup.includes(id));
      if (container === undefined) continue;
      counts.add(uid, container.name);
      const pod = options.podOf(uid);
      logger.warn({ pod: pod?.metadata.name, container: container.name, ...kill }, 'a process ran out of memory');
      const message = `Process ${kill.process} (pid ${kill.pid}) was killed: out of memory`;
      if (pod !== undefined) options.recordPod(pod, 'Warning', 'OOMKilling', message, container.name);
      return;
    }
  }

  async function look(file: FileHandle): Promise<void> {
    let last = counts.sequence();
    let killed = false;
    const isFirst = last < 0;
    await readRecords(file, (bytes) => {
      const record = parseKernelRecord(bytes);
      if (record === undefined || record.sequence <= last) return;
      last = record.sequence;
      // What was before the agent first came is not its to tell.
      const kill = isFirst ? undefined : parseOomKill(record.text);
      if (kill === undefined) return;
      killed = true;
      tell(kill);
    });
    if (killed || isFirst) await counts.save(last, new Set(options.runtimes().map(({ uid }) => uid)));
  }

  let file: FileHandle;
  try {
    file = await open(options.path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    logger.warn({ err: error, path: options.path }, 'cannot read the log of the kernel: OOM kills are not told');
    if (!signal.aborted) await new Promise((done) => signal.addEventListener('abort', done, { once: true }));
    return;
  }
  try {
    while (!signal.aborted) {
      await look(file).catch((error: unknown) => logger.warn({ err: error }, 'cannot look for OOM kills'));
      await clock.sleep(periodMs, signal).catch(() => undefined);
    }
  } finally {
    await file.close();
  }
}
