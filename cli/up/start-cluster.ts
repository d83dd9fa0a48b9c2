// Brings a cluster up, step by step, and reports each step. Ends when everything is ready; `supervise` goes on.
import type { Node } from '#kube/api/generated/core-v1.ts';
import * as resources from '#kube/api/generated/resources.ts';
import { createClient } from '#kube/client/create-client.ts';
import { loadClientConfig } from '#kube/client/load-config.ts';
import type { ApiClient } from '#kube/client/types.ts';
import { isNotFound } from '#kube/errors/status-error.ts';
import type { Clock } from '#kube/process/clock.ts';
import type { Exec } from '#kube/process/exec.ts';
import { type ClusterPki, ensureClusterPki } from '../../control-plane-lite/pki/index.ts';
import { berthCommand } from '../package-root.ts';
import { checkMachine } from './check-machine.ts';
import { applyClusterDns } from './cluster-dns.ts';
import type { ClusterLayout, NodeLayout } from './layout.ts';
import { loadImages, prepareImages, waitForRuntime } from './load-images.ts';
import {
  applyLinkRules,
  applyNodeLinks,
  applyServiceRoute,
  applySysctls,
  execInNode,
  familiesOf,
  findNodeAddress,
  hasDefaultRoute,
  linkAddress,
} from './node-network.ts';
import { agentSpec, containerdSpec, controlPlaneSpec, proxySpec, type SpecOptions } from './process-specs.ts';
import type { Report } from './progress-message.ts';
import type { Supervisor } from './supervisor.ts';
import type { StartFacts } from './worker-messages.ts';
import { writeNodeFiles } from './write-node-files.ts';

const pollMs = 50;
const stepTimeoutMs = 60_000;

export interface UpContext {
  layout: ClusterLayout;
  supervisor: Pick<Supervisor, 'start'>;
  exec: Exec;
  clock: Clock;
  env: Record<string, string | undefined>;
  uid: number;
  apiPort: number;
  store: string | undefined;
  loadBalancerPool: string | undefined;
  schedulerConfig: string | undefined;
  report: Report;
  signal: AbortSignal;
  /** Told what was found and changed, for the record. */
  changed(facts: StartFacts): Promise<void>;
}

/** Polls until `probe` answers something else than undefined. Throws with `what` and the last error. */
async function until<T>(context: UpContext, what: string, probe: () => Promise<T | undefined>): Promise<T> {
  const deadlineMs = context.clock.monotonicMs() + stepTimeoutMs;
  let last: unknown;
  while (context.clock.monotonicMs() < deadlineMs) {
    context.signal.throwIfAborted();
    try {
      const value = await probe();
      if (value !== undefined) return value;
      last = undefined;
    } catch (error) {
      last = error;
    }
    await context.clock.sleep(pollMs, context.signal);
  }
  const reason = last instanceof Error ? `: ${last.message}` : '';
  throw new Error(`${what} after ${stepTimeoutMs / 1000} s${reason}; the logs are in ${context.layout.logDir}`);
}

export function adminClient(context: Pick<UpContext, 'layout' | 'exec' | 'clock' | 'env'>): ApiClient {
  const { layout, exec, clock, env } = context;
  return createClient({ ...loadClientConfig({ exec, clock, env }, layout.adminKubeconfig), name: 'up' });
}

async function startRuntimes(context: UpContext, specs: SpecOptions): Promise<void> {
  const images = await prepareImages(context.exec, context.layout.imagesDir);
  await Promise.all(
    context.layout.nodes.map(async (node) => {
      const spec = containerdSpec(specs, node);
      await context.supervisor.start(spec);
      await waitForRuntime(context.exec, context.clock, node, spec.logPath, context.signal);
      await loadImages(context.exec, node, images);
    }),
  );
}

async function startControlPlane(context: UpContext, specs: SpecOptions): Promise<ApiClient> {
  const spec = controlPlaneSpec(specs);
  await context.supervisor.start(spec);
  // The kubeconfig is written before the server listens.
  const client = await until(context, 'the control plane wrote no kubeconfig', async () => adminClient(context));
  await until(context, `the control plane is not ready (see ${spec.logPath})`, async () => {
    const text = await client.raw<string>({ method: 'GET', path: '/readyz', timeoutMs: 2000 });
    return text === 'ok' ? true : undefined;
  });
  return client;
}

async function readNode(client: ApiClient, name: string): Promise<Node | undefined> {
  try {
    return await client.get(resources.nodes, { name }, { timeoutMs: 5000 });
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}

function isReady(node: Node | undefined): boolean {
  return node?.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') ?? false;
}

/** Waits for all nodes to be ready: their proxies make the pod network once the ranges are known. */
async function waitForNodes(context: UpContext, client: ApiClient): Promise<void> {
  const { layout } = context;
  for (const node of layout.nodes) {
    await until(context, `node ${node.name} is not ready`, async () => {
      return isReady(await readNode(client, node.name)) ? true : undefined;
    });
    // After a restart the stored condition is older than the agent: ask the agent itself.
    await until(context, `the agent of ${node.name} does not answer`, async () => {
      const path = `/api/v1/nodes/${node.name}/proxy/healthz`;
      return (await client.raw<string>({ method: 'GET', path, timeoutMs: 2000 })) === 'ok' ? true : undefined;
    });
  }
}

async function waitForProxies(context: UpContext): Promise<void> {
  for (const node of context.layout.nodes) {
    // The health port is open in the node's namespace once the server listens; the chain once rules are applied.
    await until(context, `the proxy of ${node.name} has no rules in place`, async () => {
      const args = ['-w', '5', '-t', 'nat', '-S', 'KUBE-SERVICES'];
      const result = await execInNode(context.exec, node)('iptables', args);
      return result.exitCode === 0 && result.stdout.includes('default/kubernetes:https') ? true : undefined;
    });
  }
}

/** The addresses of a node, one of each family; `first` are those of the first. */
function nodeAddresses(layout: ClusterLayout, node: NodeLayout, first: readonly string[]): readonly string[] {
  return node.index === 1 ? first : familiesOf(layout).map((family) => linkAddress(node.index, family));
}

/** Gives the machine links, addresses and routes that it lacks. Returns the first node's addresses. */
async function prepareLinks({ layout, exec }: UpContext): Promise<string[]> {
  const several = layout.nodes.length > 1;
  const ownInterfaces = layout.nodes.map(({ podBridge }) => podBridge).concat(layout.linkBridge);
  const nodeIPs: string[] = [];
  let isLinked = false;
  for (const family of familiesOf(layout)) {
    const found = several ? undefined : await findNodeAddress(exec, ownInterfaces, family);
    const routed = await hasDefaultRoute(exec, family);
    // A machine without an address or a way out still gets them, on the bridge that would join nodes.
    if (!isLinked && (found === undefined || !routed)) {
      await applyNodeLinks(exec, layout);
      isLinked = true;
    }
    if (!routed) await applyServiceRoute(exec, layout, family);
    nodeIPs.push(found ?? linkAddress(1, family));
  }
  return nodeIPs;
}

/** Runs all steps. Throws when one fails; what was started so far is the caller's to stop. */
export async function startCluster(context: UpContext): Promise<void> {
  const { layout, exec, report, apiPort } = context;

  report.start('machine');
  const machine = await checkMachine({
    uid: context.uid,
    path: context.env['PATH'] ?? '',
    ports: [
      { port: apiPort, what: 'API server' },
      { port: 10250, what: 'agent' },
      { port: 10248, what: 'agent health' },
      { port: 10249, what: 'proxy metrics' },
      { port: 10256, what: 'proxy health' },
    ],
  });
  await context.changed({ sysctls: await applySysctls(exec, familiesOf(layout)) });
  const nodeIPs = await prepareLinks(context);
  const [first = ''] = nodeIPs;
  if (layout.nodes.length > 1) await applyLinkRules(exec, layout);
  await context.changed({ nodeIP: first });
  report.done('machine', `node address ${nodeIPs.join(', ')}`);

  const pki: ClusterPki = await ensureClusterPki({
    dir: layout.pkiDir,
    serverNames: [...nodeIPs, '127.0.0.1', 'localhost'],
    nowMs: context.clock.now(),
  });
  const specs: SpecOptions = {
    layout,
    berth: berthCommand(),
    nodeIP: first,
    apiPort,
    store: context.store,
    loadBalancerPool: context.loadBalancerPool,
    schedulerConfig: context.schedulerConfig,
    env: context.env,
  };
  for (const node of layout.nodes) {
    const server = node.index === 1 ? `https://127.0.0.1:${apiPort}` : `https://${first}:${apiPort}`;
    await writeNodeFiles({ layout, node, nodeIPs: nodeAddresses(layout, node, nodeIPs), server, pki, machine });
  }

  report.start('control-plane');
  report.start('runtime');
  const [client] = await Promise.all([
    startControlPlane(context, specs).then((ready) => {
      report.done('control-plane', `https://127.0.0.1:${apiPort}`);
      return ready;
    }),
    startRuntimes(context, specs).then(() =>
      report.done('runtime', layout.nodes.map((node) => node.containerdSocket).join(', ')),
    ),
  ]);
  try {
    report.start('nodes');
    await applyClusterDns(
      client,
      layout,
      layout.nodes.map((node) => ({ name: node.name, address: nodeAddresses(layout, node, nodeIPs)[0] ?? '' })),
    );
    for (const node of layout.nodes) {
      const addresses = nodeAddresses(layout, node, nodeIPs);
      await context.supervisor.start(agentSpec(specs, node, addresses));
      await context.supervisor.start(proxySpec(specs, node, addresses[0] ?? ''));
    }
    await waitForNodes(context, client);
    report.done('nodes', layout.nodes.map((node) => node.name).join(', '));
    report.start('proxy');
    await waitForProxies(context);
    report.done('proxy', 'rules are in place');
  } finally {
    await client.close();
  }
}
