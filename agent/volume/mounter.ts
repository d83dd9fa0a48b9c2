// Mounts on this node, through mount(8) and umount(8).
import { readFile } from 'node:fs/promises';
import type { Exec } from '#kube/process/exec.ts';

/** Network filesystems may hang: a call that takes longer is given up and tried again. */
const timeoutMs = 120_000;

/** One filesystem to be mounted. */
export interface MountRequest {
  type: string;
  source: string;
  target: string;
  options: readonly string[];
}

/** What volumes need of mount(8). */
export interface Mounter {
  mount(request: MountRequest, signal?: AbortSignal): Promise<void>;
  /** Bind options are applied by a remount, as the kernel ignores them with the bind itself. */
  bind(source: string, target: string, options: { readOnly: boolean; options?: readonly string[] }): Promise<void>;
  unmount(target: string): Promise<void>;
  /** Mount points at or below `directory`, deepest first, the last one on top of others first. */
  listBelow(directory: string): Promise<string[]>;
}

/** mount(8) or umount(8) failed. */
export class MountError extends Error {
  readonly code = 'MOUNT';

  constructor(what: 'mount' | 'unmount', args: readonly string[], exitCode: number, output: string) {
    const word = what === 'mount' ? 'Mounting' : 'Unmounting';
    const lines =
      what === 'mount'
        ? [`${word} command: mount`, `${word} arguments: ${args.join(' ')}`]
        : [`${word} arguments: ${args.join(' ')}`];
    super([`${what} failed: exit status ${exitCode}`, ...lines, `Output: ${output}`].join('\n'));
    this.name = 'MountError';
  }
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
    .reverse()
    .sort((a, b) => b.length - a.length);
}

/** The mounts of the namespace this process is in. */
export function createMounter(exec: Exec, mountinfoPath = '/proc/self/mountinfo'): Mounter {
  async function run(file: 'mount' | 'umount', args: readonly string[], signal?: AbortSignal): Promise<void> {
    const result = await exec(file, args, { timeoutMs, signal });
    if (result.exitCode === 0) return;
    const output = (result.stderr || result.stdout).trim();
    throw new MountError(file === 'mount' ? 'mount' : 'unmount', args, result.exitCode, output);
  }
  const optionArgs = (options: readonly string[]) => (options.length > 0 ? ['-o', options.join(',')] : []);
  return {
    mount: ({ type, source, target, options }, signal) =>
      run('mount', ['-t', type, ...optionArgs(options), source, target], signal),
    async bind(source, target, { readOnly, options = [] }) {
      await run('mount', ['--no-canonicalize', '-o', 'bind', source, target]);
      const flags = [...(readOnly ? ['ro'] : []), ...options];
      if (flags.length > 0) await run('mount', ['-o', ['remount', 'bind', ...flags].join(','), target]);
    },
    unmount: (target) => run('umount', [target]),
    listBelow: async (directory) => parseMountPoints(await readFile(mountinfoPath, 'utf8'), directory),
  };
}

/** Whether something is mounted exactly there. */
export async function isMountPoint(mounter: Mounter, path: string): Promise<boolean> {
  return (await mounter.listBelow(path)).includes(path);
}
