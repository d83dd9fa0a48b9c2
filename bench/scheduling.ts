// Nodes that nobody runs and pods that nobody starts, for the scheduler's rows: what is left is API server and scheduler.
import { type LoadClient, mustCall } from './http.ts';
import { timed } from './measure.ts';

const parallel = 16;
const podsPath = '/api/v1/namespaces/default/pods';

/** A pod's specification, beside its containers. */
export type PodShape = (index: number) => { labels?: Record<string, string>; spec?: object };

/** Creates nodes that are ready and stay so for as long as the node controller believes in them. */
export async function createNodes(client: LoadClient, count: number): Promise<void> {
  const allocatable = { cpu: '32', memory: '256Gi', pods: '110' };
  await timed(count, parallel, async (i) => {
    const name = `fake-${i}`;
    const labels = { 'kubernetes.io/hostname': name, 'topology.kubernetes.io/zone': `z${i % 3}` };
    const now = new Date().toISOString();
    const conditions = [{ type: 'Ready', status: 'True', lastHeartbeatTime: now, lastTransitionTime: now }];
    await mustCall(client, 'POST', '/api/v1/nodes', { metadata: { name, labels } });
    const node = JSON.parse((await mustCall(client, 'GET', `/api/v1/nodes/${name}`)).toString());
    const status = { ...node.status, capacity: allocatable, allocatable, conditions };
    await mustCall(client, 'PUT', `/api/v1/nodes/${name}/status`, { ...node, status });
    // The node controller takes the taint of a new node away by itself, and may be at it right now.
    for (;;) {
      const fresh = JSON.parse((await mustCall(client, 'GET', `/api/v1/nodes/${name}`)).toString());
      const answer = await client.call('PUT', `/api/v1/nodes/${name}`, JSON.stringify({ ...fresh, spec: {} }));
      if (answer.status !== 409) break;
    }
  });
}

/** Creates pods called `prefix-0`, …; each asks for a little. */
export async function createPods(client: LoadClient, prefix: string, count: number, shape: PodShape = () => ({})) {
  const containers = [{ name: 'c', image: 'pause', resources: { requests: { cpu: '100m', memory: '100Mi' } } }];
  await timed(count, parallel, async (i) => {
    const { labels = {}, spec = {} } = shape(i);
    const metadata = { name: `${prefix}-${i}`, labels: { set: prefix, ...labels } };
    await mustCall(client, 'POST', podsPath, { metadata, spec: { containers, ...spec } });
  });
}

interface Seen {
  /** Pods bound by node. */
  perNode: Map<string, number>;
  all: Promise<void>;
  end: () => void;
}

/** Watches until so many pods of a set have a node. */
function watchBound(client: LoadClient, prefix: string, count: number): Seen {
  const perNode = new Map<string, number>();
  const bound = new Set<string>();
  const all = Promise.withResolvers<void>();
  const end = client.stream(`${podsPath}?watch=1&labelSelector=set%3D${prefix}`, (line) => {
    const { object } = JSON.parse(line) as { object: { metadata: { name: string }; spec?: { nodeName?: string } } };
    const node = object.spec?.nodeName;
    if (node === undefined || bound.has(object.metadata.name)) return;
    bound.add(object.metadata.name);
    perNode.set(node, (perNode.get(node) ?? 0) + 1);
    if (bound.size === count) all.resolve();
  });
  return { perNode, all: all.promise, end };
}

/** From the first pod's creation to the last one's binding, seen by a watcher. */
export async function schedulePods(client: LoadClient, prefix: string, count: number, shape?: PodShape) {
  const { perNode, all, end } = watchBound(client, prefix, count);
  const started = performance.now();
  await createPods(client, prefix, count, shape);
  await all;
  const perSecond = count / ((performance.now() - started) / 1000);
  end();
  const counts = [...perNode.values()];
  return { perSecond, spread: Math.max(...counts) - Math.min(...counts) };
}

/** The least that it takes: pods that are created and bound by the client, with nobody who decides. */
export async function bindBarely(client: LoadClient, prefix: string, count: number, nodes: number): Promise<number> {
  const { all, end } = watchBound(client, prefix, count);
  const started = performance.now();
  const created = createPods(client, prefix, count, () => ({ spec: { schedulerName: 'nobody' } }));
  await created;
  await timed(count, parallel, async (i) => {
    const target = { kind: 'Node', name: `fake-${i % nodes}` };
    const body = { apiVersion: 'v1', kind: 'Binding', metadata: { name: `${prefix}-${i}` }, target };
    await mustCall(client, 'POST', `${podsPath}/${prefix}-${i}/binding`, body);
  });
  await all;
  const perSecond = count / ((performance.now() - started) / 1000);
  end();
  return perSecond;
}
