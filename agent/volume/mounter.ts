// Mounts on this node, through mount(8) and umount(8).
import { readFile } from 'node:fs/promises';
import { type Exec, execOrThrow } from '#kube/process/exec.ts';

/** What volumes need of mount(8). */
export interface Mounter {
  /** A memory-backed filesystem; `options` such as size=8388608. */
  mountTmpfs(target: string, options: readonly string[]): Promise<void>;
  bind(source: string, target: string, options: { readOnly: boolean }): Promise<void>;
  unmount(target: string): Promise<void>;
  /** Mount points at or below `directory`, deepest first. */
  listBelow(directory: string): Promise<string[]>;
}

/** Undoes the octal escapes of /proc/self/mountinfo. */
function unescapeOctal(path: string): string {
  return path.replace(/\\(\d{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
}

/** Mount points at or below `directory` in the text of a mountinfo file, deepest first. */
export function parseMountPoints(mountinfo: string, directory: string): string[] {
  return mountinfo
    .split('\n')
    .map((line) => unescapeOctal(line.split(' ')[4] ?? ''))
    .filter((path) => path === directory || path.startsWith(`${directory}/`))
    .sort((a, b) => b.length - a.length);
}

/** The mounts of the namespace this process is in. */
export function createMounter(exec: Exec, mountinfoPath = '/proc/self/mountinfo'): Mounter {
  return {
    async mountTmpfs(target, options) {
      const flags = options.length > 0 ? ['-o', options.join(',')] : [];
      await execOrThrow(exec, 'mount', ['-t', 'tmpfs', ...flags, 'tmpfs', target]);
    },
    async bind(source, target, { readOnly }) {
      await execOrThrow(exec, 'mount', ['--no-canonicalize', '-o', 'bind', source, target]);
      if (readOnly) await execOrThrow(exec, 'mount', ['-o', 'remount,bind,ro', target]);
    },
    async unmount(target) {
      await execOrThrow(exec, 'umount', [target]);
    },
    listBelow: async (directory) => parseMountPoints(await readFile(mountinfoPath, 'utf8'), directory),
  };
}
