// A cluster on this host and a machine beside it that becomes its node from the package: what tests of whole nodes share.
import assert from 'node:assert/strict';
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Node, Pod } from '#kube/api/generated/core-v1.ts';
import { execOrThrow, systemExec } from '#kube/process/exec.ts';
import { buildImages } from '../../packaging/images/build-images.ts';
import { clustersUnavailable, startTestCluster, type TestCluster } from './e2e-cluster.ts';
import { eventually } from './eventually.ts';
import { createUmlMachine, machinesUnavailable, type UmlMachine } from './uml-machine.ts';

const project = join(import.meta.dirname, '../..');
const image = 'localhost/berth/busybox:1';
/** Where the cluster's API server is, seen from the machine. */
export const clusterAddress = 'https://10.245.0.1:6443';

const cni = {
  cniVersion: '0.4.0',
  name: 'test',
  plugins: [
    {
      type: 'bridge',
      bridge: 'cni0',
      isGateway: true,
      ipMasq: false,
      ipam: { type: 'host-local', ranges: [[{ subnet: '10.248.0.0/24' }]], routes: [{ dst: '0.0.0.0/0' }] },
    },
  ],
};

export interface MachineNodeOptions {
  /** Of the machine and of its node. */
  name: string;
  /** For example 10.247.0. */
  prefix: string;
  memoryMiB?: number;
  /** How its pods are connected: by a network that stands on the machine already, or by berth's own. */
  podNetwork?: 'another' | 'berth';
}

export interface MachineNode extends AsyncDisposable {
  cluster: TestCluster;
  machine: UmlMachine;
  /** Runs a script on the machine; fails when it does. Answers its output. */
  on(script: string, timeoutMs?: number): Promise<string>;
  node(): Promise<Node>;
  pod(name: string): Promise<Pod>;
  /** The id of the pod's first container, with the runtime's name before it. */
  containerOf(name: string): Promise<string>;
  restartsOf(name: string): Promise<number>;
  /** The last of what the agent said. */
  journal(lines?: number): Promise<string>;
  importImages(): Promise<void>;
  /** A pod on the node that says `up` and waits; `spec` is merged into its own. */
  createPod(name: string, spec?: object, container?: object): Promise<void>;
  waitReady(name: string, timeoutMs?: number): Promise<void>;
  waitNodeReady(timeoutMs?: number): Promise<void>;
  install(): Promise<void>;
  /** Joins with a token of the cluster, and further options. Answers what the command said. */
  join(...more: string[]): Promise<string>;
}

/** Why such nodes cannot be made here; undefined when they can. */
export function machineNodesUnavailable(): string | undefined {
  return clustersUnavailable() ?? machinesUnavailable();
}

/** The configuration of a network that is not berth's. */
export const anotherNetwork = { path: '/etc/cni/net.d/10-test.conflist', content: JSON.stringify(cni) };

export function conditionOf({ status }: Node | Pod, type: string) {
  return status?.conditions?.find((item) => item.type === type);
}

export function isReady(found: Node | Pod): boolean {
  return conditionOf(found, 'Ready')?.status === 'True';
}

/** Keys of the taints of the node. */
export async function taintsOf(held: Pick<MachineNode, 'node'>): Promise<string[]> {
  return ((await held.node()).spec?.taints ?? []).map(({ key }) => key);
}

/** Builds the package, brings the cluster up and boots the machine. Disposing it ends all of them. */
export async function startMachineNode(options: MachineNodeOptions): Promise<MachineNode> {
  await using stack = new AsyncDisposableStack();
  const directory = mkdtempSync(join(tmpdir(), 'berth-package-'));
  stack.defer(() => rmSync(directory, { recursive: true, force: true }));
  const run = (...args: string[]) => execOrThrow(systemExec, join(project, 'packaging/node'), args, { cwd: project });
  await run('packaging/build.ts');
  await run('packaging/deb/build.ts', '--output', directory);
  const cluster = stack.use(await startTestCluster());
  const own = options.podNetwork === 'berth' ? { ownDirectory: '/etc/cni' } : {};
  const machine = stack.use(await createUmlMachine({ ...options, ...own, namespace: cluster.namespace }));

  const on = async (script: string, timeoutMs?: number): Promise<string> => {
    const { exitCode, stdout, stderr } = await machine.run(script, timeoutMs);
    assert.equal(exitCode, 0, `${script}\n${stdout}\n${stderr}`);
    return stdout;
  };
  const node = async (): Promise<Node> => JSON.parse(await cluster.kubectl('get', 'node', options.name, '-o', 'json'));
  const pod = async (name: string): Promise<Pod> => JSON.parse(await cluster.kubectl('get', 'pod', name, '-o', 'json'));
  const journal = async (lines = 40): Promise<string> =>
    (await machine.run(`journalctl -u berth-agent -u kubelet --no-pager | tail -${lines}`)).stdout;

  async function importImages(): Promise<void> {
    await on(
      'until ctr version >/dev/null 2>&1; do sleep 0.2; done; for f in /root/images/*.tar; do ctr -n k8s.io images import $f; done',
      120_000,
    );
  }

  mkdirSync(join(machine.root, 'root/images'), { recursive: true });
  await buildImages(systemExec, join(machine.root, 'root/images'));
  const [file = ''] = readdirSync(directory);
  copyFileSync(join(directory, file), join(machine.root, 'root/berth.deb'));
  if (options.podNetwork !== 'berth') machine.put(anotherNetwork.path, anotherNetwork.content);
  await machine.boot();
  await importImages();
  const owned = stack.move();

  return {
    cluster,
    machine,
    on,
    node,
    pod,
    journal,
    importImages,
    containerOf: async (name) => (await pod(name)).status?.containerStatuses?.[0]?.containerID ?? '',
    restartsOf: async (name) => (await pod(name)).status?.containerStatuses?.[0]?.restartCount ?? -1,
    async createPod(name, spec = {}, container = {}) {
      const command = ['sh', '-c', 'trap "exit 0" TERM; echo up; while :; do sleep 0.2; done'];
      await cluster.apply({
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { name },
        spec: {
          nodeName: options.name,
          terminationGracePeriodSeconds: 2,
          tolerations: [{ operator: 'Exists' }],
          containers: [{ name: 'c', image, command, ...container }],
          ...spec,
        },
      });
    },
    async waitReady(name, timeoutMs = 120_000) {
      await eventually(`pod ${name}`, async () => isReady(await pod(name)), timeoutMs).catch(async (error: unknown) =>
        assert.fail(`${error}\n${JSON.stringify((await pod(name)).status)}\n${await journal()}`),
      );
    },
    async waitNodeReady(timeoutMs = 90_000) {
      await eventually('a ready node', async () => isReady(await node()), timeoutMs, 250).catch(
        async (error: unknown) => assert.fail(`${error}\n${await journal()}`),
      );
    },
    async install() {
      await on('dpkg -i /root/berth.deb', 120_000);
    },
    async join(...more) {
      const create = ['token', 'create', '--kubeconfig', cluster.layout.adminKubeconfig, '--server', clusterAddress];
      const { stdout } = await cluster.berth(create);
      return on(`${stdout.trim()} --node-name ${options.name} --cgroup-driver systemd ${more.join(' ')}`, 90_000);
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
