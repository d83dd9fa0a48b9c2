// Takes a node off this machine by its ledger: each step is safe to repeat, one that fails is told and the others go on,
// and the ledger goes last, when nothing of it is left.
import { existsSync } from 'node:fs';
import { chmod, mkdir, readdir, rm, rmdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Clock } from '#kube/process/clock.ts';
import type { Exec } from '#kube/process/exec.ts';
import { removeNodeNetwork, removeProxyRules } from '../../proxy/index.ts';
import { type LedgerEntry, ledgerPath } from './ledger.ts';
import { describeStep, planUninstall, type UninstallStep } from './plan-uninstall.ts';
import {
  cniConfDirOf,
  removeNodePods,
  removePodCgroups,
  removePodLink,
  runtimeEndpointOf,
  unmountNode,
} from './sweep-node.ts';
import { createServiceControl, isSystemdRunning } from './systemd.ts';

export interface UninstallOptions {
  entries: readonly LedgerEntry[];
  root: string;
  exec: Exec;
  clock: Clock;
  say(line: string): void;
}

async function removeIfEmpty(path: string): Promise<void> {
  if (existsSync(path) && (await readdir(path)).length === 0) await rmdir(path);
}

async function execute(step: UninstallStep, endpoint: string, { root, exec, clock }: UninstallOptions): Promise<void> {
  const control = createServiceControl(exec);
  switch (step.do) {
    case 'stop-unit':
      if (isSystemdRunning(root)) await control.disable(step.name);
      return;
    case 'remove-pods':
      await removeNodePods(endpoint);
      return;
    case 'remove-rules':
      await removeProxyRules(exec);
      await removeNodeNetwork(exec, cniConfDirOf(join(root, 'var/lib/kube-proxy/pod-network.env')));
      return;
    case 'remove-cgroups':
      if (isSystemdRunning(root)) await control.stopSlice('kubepods.slice');
      await removePodCgroups(clock);
      return;
    case 'unmount':
      await unmountNode(exec, step.below, step.except);
      return;
    case 'remove-link':
      await removePodLink(exec, step.name);
      return;
    case 'remove-tree':
      await rm(step.path, { recursive: true, force: true });
      return;
    case 'remove-file':
      await rm(step.path, { force: true });
      return;
    case 'remove-directory':
      await removeIfEmpty(step.path);
      return;
    case 'restore-file':
      await mkdir(dirname(step.path), { recursive: true });
      await writeFile(step.path, Buffer.from(step.content, 'base64'), { mode: step.mode });
      await chmod(step.path, step.mode);
      return;
    case 'restore-setting': {
      const path = join('/proc/sys', step.name);
      if (existsSync(path)) await writeFile(path, step.value);
      return;
    }
    case 'reload-systemd':
      if (isSystemdRunning(root)) await control.reload();
      return;
    default:
      return step satisfies never;
  }
}

/** Undoes everything. Returns how many steps failed. */
export async function uninstallNode(options: UninstallOptions): Promise<number> {
  const { entries, root, say } = options;
  // Asked before the configuration goes.
  const endpoint = runtimeEndpointOf(join(root, 'var/lib/kubelet/config.yaml'));
  let failures = 0;
  for (const step of planUninstall(entries, root)) {
    try {
      await execute(step, endpoint, options);
      say(describeStep(step));
    } catch (error) {
      failures += 1;
      say(`cannot ${describeStep(step)}: ${(error as Error).message}`);
    }
  }
  if (failures === 0) {
    await rm(ledgerPath(root), { force: true });
    await removeIfEmpty(dirname(ledgerPath(root)));
  }
  return failures;
}
