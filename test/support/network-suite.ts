// What tests of services share: backends that say their name, services, and a client that looks from inside a pod.
import type { Service, ServiceSpec } from '#kube/api/generated/core-v1.ts';
import { endpoints, endpointslices, services } from '#kube/api/generated/resources.ts';
import type { KubeObject } from '#kube/api/resource.ts';
import { eventually } from './eventually.ts';
import { busyboxImage, type NodeCluster, script } from './node-cluster.ts';

type NamedService = Service & KubeObject;

export interface ServiceTests {
  namespace: string;
  /** Starts pods that answer their name on these ports, with labels `app=web` and their own name; waits for them. */
  serve(names: readonly string[], ports?: readonly number[]): Promise<string[]>;
  create(name: string, spec: Partial<ServiceSpec>): Promise<NamedService>;
  /** Changes a service as `kubectl patch --type=merge` does. */
  change(name: string, spec: object): Promise<NamedService>;
  /** Runs a command in the pod of the client. */
  inside(command: string): Promise<string>;
  /** The different pods that answer so many requests from the client. */
  answers(url: string, requests?: number): Promise<string[]>;
  /** Waits until the client is answered by exactly these, each request of a batch by one of them. */
  waitAnswers(url: string, names: readonly string[]): Promise<void>;
  /** Waits until the name's records hold these texts. */
  waitRecords(name: string, type: string, texts: readonly string[]): Promise<void>;
  /** Waits for `ADDRESS:PORT` of all ready endpoints, in slices and in Endpoints. */
  waitEndpoints(name: string, expected: readonly string[]): Promise<void>;
}

/** A namespace with a client in it. */
export async function startServiceTests(node: NodeCluster): Promise<ServiceTests> {
  const namespace = await node.namespace();
  await node.createPod(namespace, { name: 'client', spec: { containers: [script('exec sleep 3600')] } });
  await node.waitReady(namespace, 'client', 120_000);
  const inside = (command: string): Promise<string> => node.shell(namespace, 'client', command);
  const answers: ServiceTests['answers'] = async (url, requests = 20) => {
    const each = `timeout 3 wget -q -O - ${url} || echo refused`;
    const text = await inside(`for i in $(seq ${requests}); do ${each}; done`);
    return [...new Set(text.trim().split(/\s+/))].sort();
  };
  const sliceAddresses = async (name: string): Promise<string[]> => {
    const labelSelector = `kubernetes.io/service-name=${name}`;
    const { items } = await node.client.list(endpointslices, { namespace, labelSelector });
    return items.flatMap((slice) =>
      (slice.endpoints ?? [])
        .filter(({ conditions }) => conditions?.ready ?? true)
        .flatMap(({ addresses }) => (slice.ports ?? []).map(({ port }) => `${addresses[0]}:${port}`)),
    );
  };
  const endpointAddresses = async (name: string): Promise<string[]> => {
    const { subsets } = await node.client.get(endpoints, { namespace, name });
    return (subsets ?? []).flatMap(({ addresses, ports }) =>
      (addresses ?? []).flatMap(({ ip }) => (ports ?? []).map(({ port }) => `${ip}:${port}`)),
    );
  };
  return {
    namespace,
    serve: async (names, ports = [8080]) => {
      await Promise.all(
        names.map((name) =>
          node.createPod(namespace, {
            metadata: { name, labels: { app: 'web', own: name } },
            spec: {
              containers: ports.map((port, index) => ({
                name: `serve-${index}`,
                image: busyboxImage,
                command: ['sh', '-c', `mkdir -p /w && echo ${name} >/w/index.html && exec httpd -f -p ${port} -h /w`],
                ports: [{ containerPort: port, name: `p${port}` }],
                readinessProbe: { httpGet: { port }, periodSeconds: 1 },
              })),
            },
          }),
        ),
      );
      const ready = await Promise.all(names.map((name) => node.waitReady(namespace, name, 120_000)));
      return ready.map(({ status }) => status?.podIP ?? '');
    },
    create: (name, spec) => node.client.create<NamedService>(services, namespace, { metadata: { name }, spec }),
    change: (name, spec) => node.client.patch<NamedService>(services, { namespace, name }, 'merge', { spec }),
    inside,
    answers,
    waitAnswers: async (url, names) => {
      const seen = new Set<string>();
      await eventually(
        `${url} is answered by ${names.join(', ')}`,
        async () => {
          const now = await answers(url);
          if (now.some((name) => !names.includes(name))) seen.clear();
          else for (const name of now) seen.add(name);
          return seen.size === names.length;
        },
        60_000,
      );
    },
    waitRecords: async (name, type, texts) => {
      await eventually(
        `${type} ${name} has ${texts.join(', ')}`,
        async () => {
          const text = await inside(`nslookup -type=${type} ${name} || true`);
          return texts.every((each) => text.includes(each));
        },
        60_000,
        200,
      );
    },
    waitEndpoints: async (name, expected) => {
      for (const read of [sliceAddresses, endpointAddresses]) {
        await eventually(
          `endpoints of ${name}: ${expected.join(', ')}`,
          async () => `${(await read(name)).sort()}` === `${[...expected].sort()}`,
          60_000,
        );
      }
    },
  };
}
