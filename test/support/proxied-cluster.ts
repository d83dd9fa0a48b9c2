// A cluster whose agent speaks to its runtime through a proxy that records and can fail calls.
import assert from 'node:assert/strict';
import { readRunState } from '../../cli/up/run-state.ts';
import { type CriProxy, interposeCriProxy } from './cri-proxy.ts';
import { startTestCluster, type TestCluster } from './e2e-cluster.ts';
import { eventually } from './eventually.ts';

export interface ProxiedCluster extends AsyncDisposable {
  cluster: TestCluster;
  proxy: CriProxy;
  nodeName: string;
  /** Of the process that is the agent now. */
  agentPid(): Promise<number>;
  /** Kills the agent and waits until its successor talks to the runtime. */
  restartAgent(): Promise<void>;
}

/** Brings the cluster up and puts the proxy between. */
export async function startProxiedCluster(): Promise<ProxiedCluster> {
  await using stack = new AsyncDisposableStack();
  const cluster = stack.use(await startTestCluster());
  const [node] = cluster.layout.nodes;
  assert.ok(node);
  const proxy = stack.use(await interposeCriProxy(node.containerdSocket));

  async function agentPid(): Promise<number> {
    const state = await readRunState(cluster.layout.stateFile);
    const agent = state?.processes.find(({ name }) => name.startsWith('agent'));
    assert.ok(agent, 'no agent is recorded as running');
    return agent.pid;
  }

  async function restartAgent(): Promise<void> {
    const pid = await agentPid();
    const before = proxy.calls.length;
    process.kill(pid, 'SIGKILL');
    await eventually('another agent', async () => (await agentPid()) !== pid && proxy.calls.length > before + 5);
  }

  await restartAgent();
  const kept = stack.move();
  return {
    cluster,
    proxy,
    nodeName: node.name,
    agentPid,
    restartAgent,
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}
