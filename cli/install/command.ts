// `berth install` and `berth uninstall`: the services of a node under systemd, and their way back.
import { systemClock } from '#kube/process/clock.ts';
import { systemExec } from '#kube/process/exec.ts';
import { UsageError } from '#kube/process/flags.ts';
import { installNode, installPlan } from './install-node.ts';
import { readLedger } from './ledger.ts';
import type { ServiceNames } from './plan-install.ts';
import { describeStep, planUninstall } from './plan-uninstall.ts';
import { createServiceControl, isSystemdRunning } from './systemd.ts';
import { uninstallNode } from './uninstall-node.ts';

export interface InstallCommandOptions {
  names: string;
  dryRun: boolean;
  start: boolean;
  root: string;
}

const say = (line: string): void => {
  process.stdout.write(`${line}\n`);
};

function needRoot(command: string): void {
  if (process.getuid?.() !== 0) throw new UsageError(`berth ${command} needs root: run it with sudo`);
}

/** Checks a choice of names. Throws UsageError. */
export function parseServiceNames(text: string): ServiceNames {
  if (text === 'berth' || text === 'kubelet') return text;
  throw new UsageError(`unknown --names "${text}": berth or kubelet`);
}

/** Runs `berth install`. */
export async function runInstall({ names: text, dryRun, start, root }: InstallCommandOptions): Promise<void> {
  const names = parseServiceNames(text);
  if (dryRun) {
    const plan = installPlan(names, root);
    for (const { path } of plan.files) say(`write ${path}`);
    for (const { path, target } of plan.links) say(`link ${path} to ${target}`);
    say(`enable ${plan.units.join(' and ')}`);
    return;
  }
  needRoot('install');
  await installNode({ names, root, exec: systemExec, say });
  if (start && isSystemdRunning(root)) {
    await createServiceControl(systemExec).restart(installPlan(names, root).units);
    say('started; a service whose configuration is not there yet waits for berth join');
  }
}

/** Runs `berth uninstall`. Returns the exit code. */
export async function runUninstall({ dryRun, root }: { dryRun: boolean; root: string }): Promise<number> {
  const entries = readLedger(root);
  if (entries === undefined) {
    say('nothing was installed');
    return 0;
  }
  if (dryRun) {
    for (const step of planUninstall(entries, root)) say(describeStep(step));
    return 0;
  }
  needRoot('uninstall');
  const failures = await uninstallNode({ entries, root, exec: systemExec, clock: systemClock, say });
  if (failures === 0) return 0;
  say(`${failures} of the steps failed: put right what they say and run berth uninstall again`);
  return 1;
}
