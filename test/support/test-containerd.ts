// A containerd of a test's own: root, state, socket and configuration in a temporary directory, images built from the
// machine's static binaries. Its network plugins are not configured: pods of these tests use the host network.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { execOrThrow, systemExec } from '#kube/process/exec.ts';
import { createMounter } from '../../agent/volume/mounter.ts';
import { findShims, removePods } from '../../cli/down/remove-pods.ts';
import { buildImages, pauseImage } from '../../packaging/images/build-images.ts';
import type { NetworkNamespace } from './network-namespace.ts';

export interface TestContainerd extends AsyncDisposable {
  endpoint: string;
  directory: string;
}

/** Why these tests cannot run here; undefined when they can. */
export function containerdUnavailable(): string | undefined {
  if (process.getuid?.() !== 0) return 'needs root to run containers';
  const found = (name: string) =>
    ['/usr/bin', '/usr/sbin', '/usr/local/bin'].some((dir) => existsSync(join(dir, name)));
  const missing = ['containerd', 'runc', 'ctr'].filter((name) => !found(name));
  return missing.length > 0 ? `needs ${missing.join(', ')}` : undefined;
}

async function configure(directory: string): Promise<string> {
  const values: Record<string, string> = {
    root: join(directory, 'root'),
    state: join(directory, 'state'),
    socket: join(directory, 'containerd.sock'),
    pauseImage,
    restrictOomScoreAdj: 'true',
    cniBinDir: '/usr/lib/cni',
    cniConfDir: join(directory, 'cni'),
    registryConfigDir: join(directory, 'registry'),
  };
  const template = await readFile(new URL('../../packaging/containerd/config.toml', import.meta.url), 'utf8');
  const path = join(directory, 'config.toml');
  await writeFile(
    path,
    template.replaceAll(/@(\w+)@/g, (_, name: string) => values[name] ?? ''),
  );
  await mkdir(join(directory, 'cni'), { recursive: true });
  return path;
}

/**
 * Starts it and imports the images; its network plugins work where it runs, in `namespace` when one is given. Disposing
 * ends it and removes all its files and mounts.
 */
export async function startTestContainerd(namespace?: Pick<NetworkNamespace, 'path'>): Promise<TestContainerd> {
  const directory = await mkdtemp(join(tmpdir(), 'agent-containerd-'));
  const config = await configure(directory);
  const socket = join(directory, 'containerd.sock');
  const [file, args] =
    namespace === undefined ? ['containerd', []] : ['nsenter', [`--net=${namespace.path}`, 'containerd']];
  const child = spawn(file, [...args, '--config', config], { stdio: ['ignore', 'ignore', 'ignore'] });
  const exited = once(child, 'exit');
  for (let waited = 0; !existsSync(socket); waited += 50) {
    if (waited > 10_000) throw new Error('containerd did not start in ten seconds');
    await sleep(50);
  }
  for (const image of await buildImages(systemExec, join(directory, 'images'))) {
    await execOrThrow(systemExec, 'ctr', ['-a', socket, '-n', 'k8s.io', 'images', 'import', image.archivePath]);
  }
  return {
    endpoint: `unix://${socket}`,
    directory,
    [Symbol.asyncDispose]: async () => {
      // Its pods may still be on their way out when their agent has gone; those that it cannot end go with their shims.
      await removePods(socket, pino({ level: 'silent' })).catch(() => undefined);
      child.kill('SIGTERM');
      await exited;
      for (const pid of findShims(socket)) process.kill(pid, 'SIGKILL');
      const mounter = createMounter(systemExec);
      for (const mount of await mounter.listBelow(directory)) await mounter.unmount(mount);
      await rm(directory, { recursive: true, force: true });
    },
  };
}
