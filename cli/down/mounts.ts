// Unmounts what is mounted below folders of ours, innermost first, and nothing outside them.
import { readFileSync } from 'node:fs';
import { type Exec, execOrThrow } from '#kube/process/exec.ts';

/** Mount points at or below one of `dirs`, deepest first. `mountinfo` is the text of /proc/self/mountinfo. */
export function selectMountsBelow(mountinfo: string, dirs: readonly string[]): string[] {
  return mountinfo
    .split('\n')
    .map((line) => line.split(' ')[4])
    .filter((point) => point !== undefined)
    .map((point) =>
      point.replaceAll(/\\(\d{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8))),
    )
    .filter((point) => dirs.some((dir) => point === dir || point.startsWith(`${dir}/`)))
    .reverse();
}

/** Detaches lazily, so that a process that still looks at a mount does not hold it. */
export async function unmountBelow(exec: Exec, dirs: readonly string[]): Promise<void> {
  for (const point of selectMountsBelow(readFileSync('/proc/self/mountinfo', 'utf8'), dirs)) {
    await execOrThrow(exec, 'umount', ['--lazy', point]);
  }
}
