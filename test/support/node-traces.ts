// What pods leave on a machine, counted: as many of each as pods of one container run, and nothing when none does.
import assert from 'node:assert/strict';
import { eventually } from './eventually.ts';
import type { MachineNode } from './machine-node.ts';

const traces = {
  namespaces: 'ls /run/netns | wc -l',
  links: 'ip -brief link | grep -c ^veth',
  addresses: 'ls /var/lib/cni/networks/test | grep -c "^10[.]"',
  sandboxes: 'findmnt -rno TARGET | grep -c "/sandboxes/.*/shm$"',
  roots: 'expr $(findmnt -rno TARGET | grep -c "v2.task/.*/rootfs$") / 2',
  cgroups: 'find /sys/fs/cgroup/kubepods.slice -type d -name "*-pod*.slice" | wc -l',
  directories: 'ls /var/lib/kubelet/pods | wc -l',
  logs: 'ls /var/log/pods | wc -l',
};

/** Shims that nothing runs under: a slow runtime may use two for one pod, but none without a process. */
const idleShims =
  'for shim in $(pgrep -f "containerd-shim.*-namespace k8s.io"); do pgrep -P $shim >/dev/null || echo $shim; done | wc -l';

/** Waits until the machine has the traces of so many pods; fails with what it has. */
export async function waitTracesOf(pods: number, { on }: MachineNode): Promise<void> {
  const all = { ...traces, idleShims };
  const script = Object.values(all).map((command) => `(${command}) 2>/dev/null; true`);
  const wanted = { ...Object.fromEntries(Object.keys(traces).map((name) => [name, pods])), idleShims: 0 };
  let last: Record<string, number> = {};
  await eventually(
    `traces of ${pods} pods`,
    async () => {
      const counts = (await on(script.join('\n'))).trim().split('\n').map(Number);
      last = Object.fromEntries(Object.keys(all).map((name, at) => [name, counts[at] ?? -1]));
      return JSON.stringify(last) === JSON.stringify(wanted);
    },
    60_000,
    1000,
  ).catch(() => assert.deepEqual(last, wanted));
}
