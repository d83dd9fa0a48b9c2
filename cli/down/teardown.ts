// Takes a cluster down: agents first, so that nothing starts again, then pods, proxies, control plane and
// runtimes; then what they left in the kernel. Every step is safe to repeat and goes on where one fails.
import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from 'pino';
import type { Clock } from '#kube/process/clock.ts';
import type { Exec } from '#kube/process/exec.ts';
import { removeNodeNetwork, removeProxyRules } from '../../proxy/index.ts';
import type { ClusterLayout, NodeLayout } from '../up/layout.ts';
import { execInNode, removeLinkRules, removeNodeLinks, restoreSysctls } from '../up/node-network.ts';
import type { RunState } from '../up/run-state.ts';
import type { Supervisor } from '../up/supervisor.ts';
import { killCgroup, removeCgroups } from './cgroups.ts';
import { unmountBelow } from './mounts.ts';
import { findShims, removePods } from './remove-pods.ts';
import { stopRecorded } from './stop-recorded.ts';

export interface TeardownContext {
  layout: ClusterLayout;
  state: RunState;
  /** Absent when the process that supervised is gone. */
  supervisor?: Pick<Supervisor, 'processes' | 'stop'>;
  exec: Exec;
  clock: Clock;
  logger: Logger;
}

async function sweepNode(context: TeardownContext, node: NodeLayout): Promise<void> {
  const { exec, clock } = context;
  await killCgroup(join(node.cgroupRoot, 'kubepods'), clock);
  for (const pid of findShims(node.containerdSocket)) process.kill(pid, 'SIGKILL');
  const inside = execInNode(exec, node);
  await removeProxyRules(inside);
  await removeNodeNetwork(inside, node.cniConfDir);
  // Pods of a runtime that was killed still hang on it.
  await inside('ip', ['link', 'del', node.podBridge]);
  await unmountBelow(exec, [node.containerdState, node.containerdRoot, node.kubeletDir, node.runDir]);
  await removeCgroups(node.cgroupRoot === '/' ? ['/kubepods'] : [node.cgroupRoot], clock);
}

/** Takes everything down. Throws the first failure after all steps were tried. */
export async function teardown(context: TeardownContext): Promise<void> {
  const { layout, state, supervisor, exec, clock, logger } = context;
  const failures: unknown[] = [];
  const attempt = async (what: string, work: () => Promise<void>): Promise<void> => {
    try {
      await work();
    } catch (error) {
      logger.error({ err: error }, `cannot ${what}`);
      failures.push(error);
    }
  };
  const stop = async (prefix: string): Promise<void> => {
    const records = state.processes.filter(({ name }) => name.startsWith(prefix));
    if (supervisor === undefined) for (const record of records) await stopRecorded(record, clock);
    else for (const { name } of supervisor.processes) if (name.startsWith(prefix)) await supervisor.stop(name);
  };
  await attempt('stop the agents', () => stop('agent'));
  for (const node of layout.nodes) {
    if (existsSync(node.containerdSocket))
      await attempt(`remove the pods of ${node.name}`, () => removePods(node.containerdSocket, logger));
  }
  for (const part of ['proxy', 'control-plane', 'containerd']) await attempt(`stop ${part}`, () => stop(part));
  for (const node of layout.nodes) {
    if (node.netns !== undefined && !existsSync(`/run/netns/${node.netns}`)) continue;
    await attempt(`clean up after ${node.name}`, () => sweepNode(context, node));
  }
  await attempt('remove the links between nodes', async () => {
    await removeLinkRules(exec);
    await removeNodeLinks(exec, layout);
  });
  await attempt('put kernel settings back', () => restoreSysctls(state.sysctls));
  await attempt('remove run-time files', () => rm(layout.runDir, { recursive: true, force: true }));
  if (failures.length > 0) throw failures[0];
}

/** Removes all data and configuration of a cluster that is down. */
export async function purge(layout: ClusterLayout): Promise<void> {
  for (const dir of [layout.configDir, layout.stateDir]) await rm(dir, { recursive: true, force: true });
}
