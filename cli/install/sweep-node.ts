// What a node's programs leave in the runtime and the kernel: pods, rules, groups, mounts, links. Only what is theirs:
// pods with kubelet's labels, the proxy's chains and tables, groups of pods.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Clock } from '#kube/process/clock.ts';
import { type Exec, execOrThrow } from '#kube/process/exec.ts';
import { parseYaml } from '#kube/process/parse-yaml.ts';
import { createGrpcRuntimeService, openCriChannel } from '../../agent/index.ts';
import { killCgroup, removeCgroups } from '../down/cgroups.ts';
import { selectMountsBelow } from '../down/mounts.ts';

const defaultEndpoint = 'unix:///run/containerd/containerd.sock';
const podUidLabel = 'io.kubernetes.pod.uid';
const callMs = 60_000;
const podsInFlight = 8;
/** Groups of pods, by either driver. */
const podCgroups = ['/kubepods', '/kubepods.slice'];

/** The runtime that the node's configuration names. */
export function runtimeEndpointOf(configFile: string): string {
  if (!existsSync(configFile)) return defaultEndpoint;
  const { containerRuntimeEndpoint } = (parseYaml(readFileSync(configFile, 'utf8')) ?? {}) as Record<string, unknown>;
  const isText = typeof containerRuntimeEndpoint === 'string' && containerRuntimeEndpoint !== '';
  return isText ? containerRuntimeEndpoint : defaultEndpoint;
}

/** Where the node's proxy, by the flags that joining left for it, has the configuration of the pod network. */
export function cniConfDirOf(flagsFile: string): string {
  const flags = existsSync(flagsFile) ? readFileSync(flagsFile, 'utf8') : '';
  return /--pod-network-cni-conf-dir=([^\s"]+)/.exec(flags)?.[1] ?? '/etc/cni/net.d';
}

/** Stops and removes all pods that a kubelet made, with their networks. Returns how many; others stay. */
export async function removeNodePods(endpoint: string): Promise<number> {
  const socket = endpoint.replace(/^unix:\/\//, '');
  if (!existsSync(socket)) return 0;
  const channel = openCriChannel(endpoint);
  try {
    const runtime = createGrpcRuntimeService(channel, callMs);
    const queue = (await runtime.listPodSandbox()).filter(({ labels }) => labels[podUidLabel] !== undefined);
    const count = queue.length;
    const worker = async (): Promise<void> => {
      for (let sandbox = queue.pop(); sandbox !== undefined; sandbox = queue.pop()) {
        await runtime.stopPodSandbox(sandbox.id);
        await runtime.removePodSandbox(sandbox.id);
      }
    };
    await Promise.all(Array.from({ length: podsInFlight }, worker));
    return count;
  } finally {
    channel.close();
  }
}

/** Ends what is left in the groups of pods, and removes them. */
export async function removePodCgroups(clock: Clock): Promise<void> {
  for (const path of podCgroups) await killCgroup(path, clock);
  await removeCgroups(podCgroups, clock);
}

/** Unmounts what volumes left below directories of the node, but no mount that was there before the node. */
export async function unmountNode(
  exec: Exec,
  directories: readonly string[],
  except: readonly string[],
): Promise<void> {
  for (const point of selectMountsBelow(readFileSync('/proc/self/mountinfo', 'utf8'), directories)) {
    if (except.includes(point)) continue;
    await execOrThrow(exec, 'umount', ['--lazy', point]);
  }
}

/** Removes a bridge that pods were connected by, when nothing is connected any more. */
export async function removePodLink(exec: Exec, name: string): Promise<void> {
  const directory = join('/sys/class/net', name);
  if (!existsSync(join(directory, 'bridge'))) return;
  if (readdirSync(join(directory, 'brif')).length > 0) return;
  await execOrThrow(exec, 'ip', ['link', 'delete', name]);
}
