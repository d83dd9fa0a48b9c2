// Who listens on a TCP port, by the kernel's tables.
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';

const listening = '0A';

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    // A family that the kernel does not have, or a process that has ended.
    return '';
  }
}

/** Inodes of the sockets that listen on the port. `table` is the text of /proc/net/tcp or tcp6. */
export function listenersIn(table: string, port: number): string[] {
  const wanted = port.toString(16).toUpperCase().padStart(4, '0');
  return table
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter((fields) => fields[3] === listening && fields[1]?.endsWith(`:${wanted}`) === true)
    .flatMap((fields) => fields[9] ?? []);
}

function holds(pid: string, inodes: ReadonlySet<string>): boolean {
  try {
    return readdirSync(join('/proc', pid, 'fd')).some((fd) => inodes.has(readlinkSync(join('/proc', pid, 'fd', fd))));
  } catch {
    // It has ended, or belongs to another user.
    return false;
  }
}

/** The command line of who listens there; undefined when nobody does. */
export function findListener(port: number): string | undefined {
  const inodes = new Set(
    ['/proc/net/tcp', '/proc/net/tcp6'].flatMap((path) => listenersIn(read(path), port)).map((id) => `socket:[${id}]`),
  );
  if (inodes.size === 0) return undefined;
  const pid = readdirSync('/proc').find((name) => /^\d+$/.test(name) && holds(name, inodes));
  if (pid === undefined) return 'an unknown program';
  return read(join('/proc', pid, 'cmdline'))
    .replaceAll('\0', ' ')
    .trim();
}
