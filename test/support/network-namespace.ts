// A network namespace of a test's own, and an Exec that runs programs inside it.
import { randomBytes } from 'node:crypto';
import { type Exec, execOrThrow, systemExec } from '#kube/process/exec.ts';

export interface NetworkNamespace extends AsyncDisposable {
  name: string;
  path: string;
  /** Runs a program in the namespace, with everything else as on the host. */
  exec: Exec;
}

/** Why tests that need namespaces cannot run here; undefined when they can. */
export function namespacesUnavailable(): string | undefined {
  return process.getuid?.() === 0 ? undefined : 'needs root to make network namespaces';
}

/** Makes a namespace with loopback up. Disposing it removes it with all its rules and devices. */
export async function createNetworkNamespace(prefix: string): Promise<NetworkNamespace> {
  const name = `${prefix}-${randomBytes(3).toString('hex')}`;
  await execOrThrow(systemExec, 'ip', ['netns', 'add', name]);
  const path = `/run/netns/${name}`;
  const exec: Exec = (file, args, options) => systemExec('nsenter', [`--net=${path}`, file, ...args], options);
  await execOrThrow(exec, 'ip', ['link', 'set', 'lo', 'up']);
  return {
    name,
    path,
    exec,
    [Symbol.asyncDispose]: async () => {
      await execOrThrow(systemExec, 'ip', ['netns', 'del', name]);
    },
  };
}
