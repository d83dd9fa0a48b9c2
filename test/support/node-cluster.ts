// A one-node cluster for tests of what pods do on it: objects through the API client, namespaces of a test's own,
// pods run to their end, their logs and events.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Container, Event, Node, Pod, PodSpec } from '#kube/api/generated/core-v1.ts';
import type { ObjectMeta } from '#kube/api/generated/meta-v1.ts';
import { events, namespaces, nodes, pods, serviceaccounts } from '#kube/api/generated/resources.ts';
import type { ClientConfig } from '#kube/client/config.ts';
import { createClient } from '#kube/client/create-client.ts';
import { loadClientConfig } from '#kube/client/load-config.ts';
import type { ApiClient } from '#kube/client/types.ts';
import { systemClock } from '#kube/process/clock.ts';
import { execOrThrow, systemExec } from '#kube/process/exec.ts';
import { busyboxImage, pauseImage } from '../../packaging/images/build-images.ts';
import { startTestCluster, type TestCluster } from './e2e-cluster.ts';
import { eventually } from './eventually.ts';
import { createNamespaceDialer, type NamespaceDialer } from './namespace-dialer.ts';
import { reconfigureAgent } from './reconfigure-agent.ts';
import { buildTestImages } from './test-images.ts';

export { busyboxImage, pauseImage };

export interface PodInput {
  name?: string;
  metadata?: ObjectMeta;
  spec: PodSpec;
}

export interface NodeCluster extends AsyncDisposable {
  cluster: TestCluster;
  client: ApiClient;
  config: ClientConfig;
  dialer: NamespaceDialer;
  nodeName: string;
  /** Makes a namespace with a random name, ready for pods. */
  namespace(): Promise<string>;
  node(): Promise<Node>;
  createPod(namespace: string, input: PodInput): Promise<Pod>;
  pod(namespace: string, name: string): Promise<Pod>;
  /** Waits for a state of a pod; a failure shows its status. */
  waitForPod(
    namespace: string,
    name: string,
    what: string,
    reached: (pod: Pod) => boolean,
    timeoutMs?: number,
  ): Promise<Pod>;
  waitReady(namespace: string, name: string, timeoutMs?: number): Promise<Pod>;
  waitEnded(namespace: string, name: string, timeoutMs?: number): Promise<Pod>;
  waitGone(namespace: string, name: string, timeoutMs?: number): Promise<void>;
  logs(namespace: string, name: string, query?: string): Promise<string>;
  /** Runs a pod to success and answers the log of its first container. */
  output(namespace: string, input: PodInput): Promise<string>;
  /** Runs a shell command in a container and answers its standard output; throws when it fails. */
  shell(namespace: string, pod: string, command: string, container?: string): Promise<string>;
  events(namespace: string, name: string): Promise<Event[]>;
}

/** A container of the small image with a shell script. */
export function script(text: string, fields: Partial<Container> = {}): Container {
  return { name: 'main', image: busyboxImage, command: ['sh', '-c', text], ...fields };
}

export function containerStatus(pod: Pod, name = 'main') {
  const { containerStatuses = [], initContainerStatuses = [], ephemeralContainerStatuses = [] } = pod.status ?? {};
  return [...containerStatuses, ...initContainerStatuses, ...ephemeralContainerStatuses].find(
    (status) => status.name === name,
  );
}

export function isReady(pod: Pod): boolean {
  return pod.status?.conditions?.find(({ type }) => type === 'Ready')?.status === 'True';
}

export function hasEnded(pod: Pod): boolean {
  return pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed';
}

export interface NodeClusterOptions {
  nodes?: number;
  /** Adds the images of test-images.ts to the node. */
  testImages?: boolean;
  /** Fields of KubeletConfiguration beyond what the cluster comes with. */
  configuration?: object;
}

/** Boots the cluster. */
export async function startNodeCluster(options: NodeClusterOptions = {}): Promise<NodeCluster> {
  const cluster = await startTestCluster({ nodes: options.nodes ?? 1 });
  let dialer: NamespaceDialer | undefined;
  try {
    dialer = await createNamespaceDialer(cluster.namespace);
    const loaded = loadClientConfig({ exec: systemExec, clock: systemClock, env: {} }, cluster.layout.adminKubeconfig);
    const { hostname, port } = new URL(loaded.servers[0] ?? '');
    const config = {
      ...loaded,
      servers: [`https://127.0.0.1:${await dialer.publish(hostname, Number(port))}`],
    };
    const client = createClient(config);
    if (options.testImages === true) await importTestImages(cluster);
    if (options.configuration !== undefined) await reconfigureAgent(cluster, options.configuration);
    return nodeCluster(cluster, client, config, dialer);
  } catch (error) {
    await dialer?.[Symbol.asyncDispose]();
    await cluster[Symbol.asyncDispose]();
    throw error;
  }
}

async function importTestImages(cluster: TestCluster): Promise<void> {
  const directory = join(cluster.layout.imagesDir, 'of-tests');
  try {
    for (const path of await buildTestImages(directory)) {
      for (const { containerdSocket } of cluster.layout.nodes) {
        await execOrThrow(systemExec, 'ctr', ['-a', containerdSocket, '-n', 'k8s.io', 'images', 'import', path]);
      }
    }
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

function nodeCluster(
  cluster: TestCluster,
  client: ApiClient,
  config: ClientConfig,
  dialer: NamespaceDialer,
): NodeCluster {
  const nodeName = cluster.layout.nodes[0]?.name ?? '';
  const podOf = (namespace: string, name: string) =>
    client.get<Pod & { metadata: { name: string } }>(pods, { namespace, name });

  const waitForPod: NodeCluster['waitForPod'] = async (namespace, name, what, reached, timeoutMs = 60_000) => {
    let last: Pod | undefined;
    try {
      return await eventually(
        what,
        async () => {
          last = await podOf(namespace, name);
          return reached(last) && last;
        },
        timeoutMs,
        100,
      );
    } catch (error) {
      const told = await eventsOf(namespace, name).catch(() => []);
      const lines = told.map(({ reason, message }) => `${reason}: ${message}`).join('\n');
      throw new Error(`${name}: ${what}: never; last ${JSON.stringify(last?.status)}\n${lines}`, { cause: error });
    }
  };
  const eventsOf = async (namespace: string, name: string) =>
    (await client.list(events, { namespace, fieldSelector: `involvedObject.name=${name}` })).items;
  const createPod: NodeCluster['createPod'] = (namespace, { name, metadata, spec }) =>
    client.create(pods, namespace, {
      metadata: { name: name ?? `pod-${randomBytes(4).toString('hex')}`, ...metadata },
      spec: { terminationGracePeriodSeconds: 1, ...spec },
    });
  const waitEnded: NodeCluster['waitEnded'] = (namespace, name, timeoutMs) =>
    waitForPod(namespace, name, 'it has ended', hasEnded, timeoutMs);
  const logs: NodeCluster['logs'] = (namespace, name, query = '') =>
    client.raw({ method: 'GET', path: `/api/v1/namespaces/${namespace}/pods/${name}/log?${query}` });

  return {
    cluster,
    client,
    config,
    dialer,
    nodeName,
    namespace: async () => {
      const name = `test-${randomBytes(4).toString('hex')}`;
      await client.create(namespaces, undefined, { metadata: { name }, spec: {} });
      await eventually('the service account', () => client.get(serviceaccounts, { namespace: name, name: 'default' }));
      return name;
    },
    node: () => client.get(nodes, { name: nodeName }),
    createPod,
    pod: podOf,
    waitForPod,
    waitReady: (namespace, name, timeoutMs) => waitForPod(namespace, name, 'it is ready', isReady, timeoutMs),
    waitEnded,
    waitGone: async (namespace, name, timeoutMs = 60_000) => {
      const find = async () => (await client.list(pods, { namespace, fieldSelector: `metadata.name=${name}` })).items;
      await eventually(`${name} is gone`, async () => (await find()).length === 0, timeoutMs, 100);
    },
    logs,
    output: async (namespace, input) => {
      const { metadata } = await createPod(namespace, { ...input, spec: { restartPolicy: 'Never', ...input.spec } });
      const name = metadata.name ?? '';
      const ended = await waitEnded(namespace, name);
      const text = await logs(namespace, name, `container=${input.spec.containers[0]?.name}`);
      assert.equal(ended.status?.phase, 'Succeeded', `${text}\n${JSON.stringify(ended.status?.containerStatuses)}`);
      return text;
    },
    shell: (namespace, pod, command, container = '') =>
      cluster.kubectl('exec', '-n', namespace, pod, '-c', container, '--', 'sh', '-c', command),
    events: eventsOf,
    [Symbol.asyncDispose]: async () => {
      await client.close();
      await dialer[Symbol.asyncDispose]();
      await cluster[Symbol.asyncDispose]();
    },
  };
}
