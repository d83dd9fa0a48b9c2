// Pods that run echo-program.ts: on the machine's own files, so that no image is needed, in a network of their own.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Container, ContainerPort, Pod } from '#kube/api/generated/core-v1.ts';
import { execOrThrow } from '#kube/process/exec.ts';
import { ensureClusterPki } from '../../control-plane-lite/pki/index.ts';
import type { EchoConfig } from './echo-program.ts';
import { busyboxImage, type NodeCluster } from './node-cluster.ts';

const program = join(import.meta.dirname, 'echo-program.ts');
/** Where the machine's files are in a pod. */
const hostMount = '/host';
const command = (...args: string[]): string[] => ['chroot', hostMount, process.execPath, program, ...args];

const container: Pick<Container, 'name' | 'image' | 'volumeMounts'> = {
  name: 'main',
  image: busyboxImage,
  volumeMounts: [{ name: 'machine', mountPath: hostMount, readOnly: true }],
};
const volumes = [{ name: 'machine', hostPath: { path: '/' } }];

export interface EchoPod {
  namespace: string;
  name: string;
  labels?: Record<string, string>;
  config: EchoConfig;
  /** Ports of the container, by name or on the node. */
  ports?: ContainerPort[];
}

/** A certificate that nobody trusts. */
export async function createCertificate(): Promise<{ certPem: string; keyPem: string }> {
  const dir = await mkdtemp(join(tmpdir(), 'berth-echo-'));
  try {
    const { serving } = await ensureClusterPki({ dir, serverNames: ['echo'], nowMs: Date.now() });
    return { certPem: serving.certPem, keyPem: serving.keyPem };
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

/** Starts a server and waits until its first HTTP port answers. */
export async function startEchoPod(node: NodeCluster, pod: EchoPod): Promise<Pod> {
  const { namespace, name, labels = {}, config, ports = [] } = pod;
  const port = Number(Object.keys(config.http ?? {})[0]);
  const readinessProbe = { httpGet: { port }, periodSeconds: 1, timeoutSeconds: 5 };
  await node.createPod(namespace, {
    metadata: { name, labels },
    spec: {
      volumes,
      containers: [{ ...container, command: command('serve', JSON.stringify(config)), ports, readinessProbe }],
    },
  });
  return node.waitReady(namespace, name, 120_000);
}

/** A pod from which packets are sent and names are looked for. */
export async function startEchoClient(node: NodeCluster, namespace: string) {
  const name = 'echo-client';
  await node.createPod(namespace, {
    name,
    spec: { volumes, containers: [{ ...container, command: ['sleep', '3600'] }] },
  });
  await node.waitReady(namespace, name, 120_000);
  const run = (...args: string[]): Promise<string> => node.shell(namespace, name, command(...args).join(' '));
  return {
    /** The different answers to so many packets, each from a port of its own. */
    askUdp: async (host: string, port: number, count = 10): Promise<string[]> =>
      (await run('ask-udp', host, String(port), String(count))).trim().split('\n'),
    /** The records of a name, looked for in the pod's own search domains. */
    find: async <T>(type: string, full: string): Promise<T[]> =>
      JSON.parse(
        await node.shell(namespace, name, `${command('find', type, full).join(' ')} </etc/resolv.conf`),
      ) as T[],
  };
}

/** As `askUdp` of a client, from the node itself. */
export async function askUdpFromNode(node: NodeCluster, host: string, port: number, count = 10): Promise<string[]> {
  const args = [program, 'ask-udp', host, String(port), String(count)];
  return (await execOrThrow(node.cluster.namespace.exec, process.execPath, args)).trim().split('\n');
}
