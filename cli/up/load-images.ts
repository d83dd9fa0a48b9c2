// Brings the locally built images into a node's runtime, once.
import { mkdir } from 'node:fs/promises';
import type { Clock } from '#kube/process/clock.ts';
import { type Exec, execOrThrow } from '#kube/process/exec.ts';
import { type BuiltImage, buildImages } from '../../packaging/images/build-images.ts';
import type { NodeLayout } from './layout.ts';

const pollMs = 50;
const startTimeoutMs = 30_000;

function ctr(node: NodeLayout, ...args: string[]): string[] {
  return ['--address', node.containerdSocket, '--namespace', 'k8s.io', ...args];
}

/** Resolves when the node's runtime answers. Throws with the place of its log when it does not. */
export async function waitForRuntime(
  exec: Exec,
  clock: Clock,
  node: NodeLayout,
  logPath: string,
  signal: AbortSignal,
): Promise<void> {
  const deadlineMs = clock.monotonicMs() + startTimeoutMs;
  for (;;) {
    const result = await exec('ctr', ctr(node, 'version'), { signal, timeoutMs: 5000 });
    if (result.exitCode === 0) return;
    if (clock.monotonicMs() > deadlineMs) throw new Error(`containerd of ${node.name} does not answer: see ${logPath}`);
    await clock.sleep(pollMs, signal);
  }
}

/** Builds the archives; quick, and the same bytes every time. */
export async function prepareImages(exec: Exec, imagesDir: string): Promise<BuiltImage[]> {
  await mkdir(imagesDir, { recursive: true });
  return await buildImages(exec, imagesDir);
}

/** Imports what the runtime does not have. */
export async function loadImages(exec: Exec, node: NodeLayout, images: readonly BuiltImage[]): Promise<void> {
  const present = new Set((await execOrThrow(exec, 'ctr', ctr(node, 'images', 'list', '--quiet'))).split('\n'));
  for (const { names, archivePath } of images) {
    if (names.every((name) => present.has(name))) continue;
    await execOrThrow(exec, 'ctr', ctr(node, 'images', 'import', archivePath));
  }
}
