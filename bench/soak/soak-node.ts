// A soak: the levels of a node after a first churn of pods, and again after a long one. Runs inside the network namespace
// of a cluster of its own.
import { setTimeout as sleep } from 'node:timers/promises';
import { systemExec } from '#kube/process/exec.ts';
import { computeLayout } from '../../cli/up/layout.ts';
import { readRunState } from '../../cli/up/run-state.ts';
import { createLoadClient } from '../http.ts';
import { residentMb } from '../measure.ts';
import { churnPods } from './churn-pods.ts';
import { type Levels, takeLevels } from './take-levels.ts';

const workers = 6;
const settleStepMs = 1000;

export interface SoakOptions {
  instance: string;
  hostname: string;
  warmUpMs: number;
  durationMs: number;
  /** How long the node may take to put everything away, and its memory to settle. */
  settleMs: number;
}

export interface SoakResult {
  pods: number;
  before: Levels;
  after: Levels;
  /** Resident megabytes of each process before and after, by name. */
  memory: Record<string, { before: number; after: number }>;
}

function isLevel(levels: Levels, wanted: Levels): boolean {
  return Object.entries(wanted).every(([name, value]) => levels[name as keyof Levels] <= value);
}

/** Runs it. Nothing is judged here. */
export async function soakNode(options: SoakOptions): Promise<SoakResult> {
  const { instance, hostname } = options;
  const layout = computeLayout({ instance, hostname, nodeCount: 1 });
  const [node] = layout.nodes;
  const state = await readRunState(layout.stateFile);
  if (node === undefined || state === undefined) throw new Error(`no cluster ${instance} is up`);
  const agentPid = state.processes.find(({ name }) => name.startsWith('agent'))?.pid ?? 0;
  const client = createLoadClient(layout.adminKubeconfig, workers);
  const churn = (durationMs: number) =>
    churnPods({
      client,
      exec: systemExec,
      kubeconfig: layout.adminKubeconfig,
      nodeName: node.name,
      workers,
      durationMs,
    });

  /** The least memory of each process and the last levels, once these are as wanted or the time is over. */
  const settle = async (wanted: Levels | undefined) => {
    const memory = new Map<string, number>();
    let levels = takeLevels(node, agentPid);
    for (let waitedMs = 0; waitedMs < options.settleMs; waitedMs += settleStepMs) {
      await sleep(settleStepMs);
      levels = takeLevels(node, agentPid);
      for (const { name, pid } of state.processes) {
        memory.set(name, Math.min(memory.get(name) ?? Number.POSITIVE_INFINITY, residentMb(pid)));
      }
    }
    const limitMs = performance.now() + 2 * options.settleMs;
    while (wanted !== undefined && !isLevel(levels, wanted) && performance.now() < limitMs) {
      await sleep(settleStepMs);
      levels = takeLevels(node, agentPid);
    }
    return { levels, memory };
  };

  const warm = await churn(options.warmUpMs);
  const before = await settle(undefined);
  const pods = await churn(options.durationMs);
  const after = await settle(before.levels);
  client.close();
  return {
    pods: warm + pods,
    before: before.levels,
    after: after.levels,
    memory: Object.fromEntries(
      [...after.memory].map(([name, value]) => [name, { before: before.memory.get(name) ?? value, after: value }]),
    ),
  };
}
