// Gives the agent of a running cluster other fields of KubeletConfiguration: its supervisor starts it again.
import assert from 'node:assert/strict';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseYaml } from '#kube/process/parse-yaml.ts';
import { readRunState } from '../../cli/up/run-state.ts';
import type { TestCluster } from './e2e-cluster.ts';
import { eventually } from './eventually.ts';

/** Resolves when another agent serves. */
export async function reconfigureAgent(cluster: TestCluster, fields: object): Promise<void> {
  const [node] = cluster.layout.nodes;
  assert.ok(node !== undefined);
  const before = parseYaml(await readFile(node.agentConfig, 'utf8')) as object;
  await writeFile(node.agentConfig, JSON.stringify({ ...before, ...fields }));
  const agentPid = async () => {
    const state = await readRunState(cluster.layout.stateFile);
    return state?.processes.find(({ name }) => name.startsWith('agent'))?.pid;
  };
  // Another policy needs the state of the one before removed.
  for (const manager of ['cpu', 'memory']) {
    if (`${manager}ManagerPolicy` in fields)
      await rm(join(node.kubeletDir, `${manager}_manager_state`), { force: true });
  }
  const pid = await agentPid();
  assert.ok(pid !== undefined);
  process.kill(pid, 'SIGKILL');
  await eventually('another agent', async () => (await agentPid()) !== pid);
  const configz = `/api/v1/nodes/${node.name}/proxy/configz`;
  await eventually('it serves', async () => (await cluster.tryKubectl(['get', '--raw', configz])).exitCode === 0);
}
