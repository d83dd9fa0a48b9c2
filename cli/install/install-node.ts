// Puts the services of a node in place. Safe to repeat: the ledger keeps how the machine was before the first time.
import { existsSync, lstatSync, readFileSync, readlinkSync } from 'node:fs';
import { mkdir, rm, symlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Exec } from '#kube/process/exec.ts';
import { selectMountsBelow } from '../down/mounts.ts';
import { berthCommand, packageRoot } from '../package-root.ts';
import { type Ledger, openLedger } from './ledger.ts';
import {
  type InstallPlan,
  kernelSettings,
  kubeletProgram,
  nodePaths,
  planInstall,
  type ServiceNames,
  selectAbsent,
} from './plan-install.ts';
import { createServiceControl, isSystemdRunning } from './systemd.ts';
import { recordFile, writeRecorded } from './write-recorded.ts';

/** Bridges of network plugins, which outlive the pods they were made for. */
const podLinks = ['cni0', 'cbr0', 'berth0'];
/** Files that the agent writes into directories of others, when it is configured to. */
const sharedFiles = ['/etc/systemd/logind.conf.d/99-kubelet.conf'];
/** Mounts of pods and drivers, also of a kubelet before: not the machine's. */
const volumeMount = /^\/var\/lib\/kubelet\/(pods|plugins)\/./;
const packagedUnit = '/usr/lib/systemd/system/berth-agent.service';
const packagedRoot = '/usr/lib/berth';

export interface InstallOptions {
  names: ServiceNames;
  /** / but in tests. */
  root: string;
  exec: Exec;
  say(line: string): void;
}

/** Records what a node will change when it runs. */
async function recordMachine(root: string, ledger: Ledger): Promise<void> {
  const isNew = ledger.entries().length === 0;
  const absent = selectAbsent(nodePaths, (path) => existsSync(join(root, path)));
  for (const path of absent) await ledger.add({ kind: 'tree', path: join(root, path) });
  for (const path of sharedFiles) if (!existsSync(join(root, path))) await recordFile(join(root, path), ledger);
  if (root !== '/') return;
  if (isNew) {
    const mounts = selectMountsBelow(readFileSync('/proc/self/mountinfo', 'utf8'), nodePaths);
    for (const path of mounts.filter((point) => !volumeMount.test(point))) await ledger.add({ kind: 'mount', path });
  }
  for (const name of kernelSettings) {
    const path = join('/proc/sys', name);
    if (existsSync(path)) await ledger.add({ kind: 'sysctl', name, value: readFileSync(path, 'utf8').trim() });
  }
  for (const name of podLinks) {
    if (!existsSync(join('/sys/class/net', name))) await ledger.add({ kind: 'link', name });
  }
}

/** Whether somebody else's program stands where kubelet's does. */
function hasKubelet(root: string, command: string): boolean {
  const path = join(root, kubeletProgram);
  const stat = lstatSync(path, { throwIfNoEntry: false });
  return stat !== undefined && !(stat.isSymbolicLink() && readlinkSync(path) === command);
}

/** What will be installed on this machine. */
export function installPlan(names: ServiceNames, root: string): InstallPlan {
  const template = (name: string) => readFileSync(join(packageRoot(), 'packaging/systemd', name), 'utf8');
  const templates = { agent: template('berth-agent.service'), proxy: template('berth-proxy.service') };
  const packaged = packageRoot() === packagedRoot && existsSync(packagedUnit);
  const command = berthCommand();
  return planInstall(names, templates, command, packaged, hasKubelet(root, command));
}

/** Writes and enables the units. Returns the ledger, for what else is made. */
export async function installNode({ names, root, exec, say }: InstallOptions): Promise<Ledger> {
  const plan = installPlan(names, root);
  const ledger = openLedger(root);
  await recordMachine(root, ledger);
  for (const { path, content } of plan.files) {
    const target = join(root, path);
    await writeRecorded(target, content, 0o644, ledger);
    say(`wrote ${target}`);
  }
  for (const { path, target } of plan.links) {
    const link = join(root, path);
    await recordFile(link, ledger);
    await mkdir(dirname(link), { recursive: true });
    await rm(link, { force: true });
    await symlink(target, link);
    say(`linked ${link} to ${target}`);
  }
  if (!isSystemdRunning(root)) {
    say('systemd does not run here: units are written, not enabled');
    return ledger;
  }
  const control = createServiceControl(exec);
  for (const name of plan.units) {
    await recordFile(`/etc/systemd/system/multi-user.target.wants/${name}`, ledger);
    await ledger.add({ kind: 'unit', name });
  }
  await control.enable(plan.units);
  await control.reload();
  say(`enabled ${plan.units.join(' and ')}`);
  return ledger;
}
