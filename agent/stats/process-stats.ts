// What the processes of a container say about themselves: open files, limits, states, and the network they see.
import { readdirSync, readlinkSync } from 'node:fs';
import { readText } from './read-file.ts';

/** Counters of one network interface. */
export interface InterfaceStats {
  name: string;
  rxBytes: number;
  rxPackets: number;
  rxErrors: number;
  rxDropped: number;
  txBytes: number;
  txPackets: number;
  txErrors: number;
  txDropped: number;
}

/** Sums over the processes of one container. */
export interface ProcessStats {
  fileDescriptors: number;
  sockets: number;
  states: { sleeping: number; running: number; stopped: number; uninterruptible: number; iowaiting: number };
}

function countDescriptors(pid: number, into: ProcessStats): void {
  try {
    const directory = `/proc/${pid}/fd`;
    const names = readdirSync(directory);
    into.fileDescriptors += names.length;
    for (const name of names) if (readlinkSync(`${directory}/${name}`).startsWith('socket:')) into.sockets += 1;
  } catch {
    // The process has ended, or closed the file.
  }
}

function countState(pid: number, into: ProcessStats): void {
  const stat = readText(`/proc/${pid}/stat`);
  switch (stat.charAt(stat.lastIndexOf(')') + 2)) {
    case 'R':
      into.states.running += 1;
      break;
    case 'S':
    case 'I':
      into.states.sleeping += 1;
      break;
    case 'D':
      into.states.uninterruptible += 1;
      break;
    case 'T':
    case 't':
      into.states.stopped += 1;
      break;
    default:
  }
}

/** The soft limit of open files of a process; undefined where there is none. */
export function readOpenFilesLimit(pid: number): number | undefined {
  const limit = /^Max open files\s+(\d+|unlimited)/m.exec(readText(`/proc/${pid}/limits`))?.[1];
  return limit === undefined || limit === 'unlimited' ? undefined : Number(limit);
}

/** Looks at every process once. */
export function readProcessStats(pids: readonly number[]): ProcessStats {
  const stats: ProcessStats = {
    fileDescriptors: 0,
    sockets: 0,
    states: { sleeping: 0, running: 0, stopped: 0, uninterruptible: 0, iowaiting: 0 },
  };
  for (const pid of pids) {
    countDescriptors(pid, stats);
    countState(pid, stats);
  }
  return stats;
}

/** Interfaces in the text of /proc/PID/net/dev, loopback left out. */
export function parseInterfaces(text: string): InterfaceStats[] {
  return text
    .split('\n')
    .slice(2)
    .flatMap((line) => {
      const [name = '', rest = ''] = line.split(':').map((part) => part.trim());
      if (rest === '' || name === 'lo') return [];
      const [
        rxBytes = 0,
        rxPackets = 0,
        rxErrors = 0,
        rxDropped = 0,
        ,
        ,
        ,
        ,
        txBytes = 0,
        txPackets = 0,
        txErrors = 0,
        txDropped = 0,
      ] = rest.split(/\s+/).map(Number);
      return [{ name, rxBytes, rxPackets, rxErrors, rxDropped, txBytes, txPackets, txErrors, txDropped }];
    });
}

/** The interfaces a process sees. */
export function readInterfaces(pid: number | 'self'): InterfaceStats[] {
  return parseInterfaces(readText(`/proc/${pid}/net/dev`));
}
