// A whole control plane in the test's process, on a free port and a directory of its own.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { createClient } from '#kube/client/create-client.ts';
import { loadClientConfig } from '#kube/client/load-config.ts';
import type { ApiClient } from '#kube/client/types.ts';
import { systemClock } from '#kube/process/clock.ts';
import { systemExec } from '#kube/process/exec.ts';
import { parseControlPlaneConfig } from '../../control-plane-lite/config.ts';
import { createControlPlane } from '../../control-plane-lite/wiring.ts';
import { runFakeAgent } from './fake-agent.ts';

export interface TestControlPlane {
  /** As cluster administrator. */
  client: ApiClient;
  kubeconfig: string;
  /** Adds a node without containers; the function returned stops its agent, as if the machine had died. */
  addNode(name: string, labels?: Record<string, string>): Promise<() => Promise<void>>;
  stop(): Promise<void>;
}

/** Flags are added to the ones that point at the test's own directory and port. */
export async function startControlPlane(flags: readonly string[] = []): Promise<TestControlPlane> {
  const dir = await mkdtemp(join(tmpdir(), 'control-plane-'));
  const logger = pino({ level: process.env['TEST_LOG'] ?? 'silent', base: null }, pino.destination(2));
  const { config } = parseControlPlaneConfig([
    `--data-dir=${dir}/data`,
    `--pki-dir=${dir}/pki`,
    `--kubeconfig-dir=${dir}`,
    '--bind-address=127.0.0.1',
    '--advertise-address=127.0.0.1',
    '--secure-port=0',
    ...flags,
  ]);
  const stop = new AbortController();
  const plane = await createControlPlane({ config, clock: systemClock, logger });
  const running = plane.run(stop.signal);
  await Promise.race([plane.ready, running]);
  const kubeconfig = join(dir, 'admin.kubeconfig');
  const newClient = () => createClient(loadClientConfig({ exec: systemExec, clock: systemClock, env: {} }, kubeconfig));
  const client = newClient();
  const agents = new Set<() => Promise<void>>();
  return {
    client,
    kubeconfig,
    async addNode(nodeName, labels = {}) {
      const own = newClient();
      const stopAgent = new AbortController();
      const agent = runFakeAgent({ client: own, nodeName, logger, labels }, stopAgent.signal);
      const end = async () => {
        agents.delete(end);
        stopAgent.abort();
        await agent;
        await own.close();
      };
      agents.add(end);
      return end;
    },
    async stop() {
      await Promise.all([...agents].map(async (end) => end()));
      await client.close();
      stop.abort(new Error('the test is over'));
      await running;
      await rm(dir, { recursive: true, force: true });
    },
  };
}
