// Reads what an agent says at /metrics/resource. Pure. The text comes from a node: what is not understood is left out.

/** Counters and gauges of a container or node at one time. */
export interface UsagePoint {
  cpuSeconds: number;
  memoryBytes: number;
  /** When the agent measured. */
  atMs: number;
  /** Of containers: when they started; zero where it is not known. */
  startedAtMs: number;
}

/** One scrape of one node. */
export interface NodeReport {
  node: UsagePoint | undefined;
  /** By `namespace/pod`, then by container. */
  pods: ReadonlyMap<string, ReadonlyMap<string, UsagePoint>>;
}

type Field = 'cpuSeconds' | 'memoryBytes' | 'startedAtMs';
type Draft = Partial<Record<Field | 'atMs', number>>;

const lineShape = /^([a-z_]+)(?:\{([^}]*)\})? (\S+)(?: (\d+))?$/;

const families: Readonly<Record<string, { field: Field; of: 'node' | 'container'; scale: number }>> = {
  node_cpu_usage_seconds_total: { field: 'cpuSeconds', of: 'node', scale: 1 },
  node_memory_working_set_bytes: { field: 'memoryBytes', of: 'node', scale: 1 },
  container_cpu_usage_seconds_total: { field: 'cpuSeconds', of: 'container', scale: 1 },
  container_memory_working_set_bytes: { field: 'memoryBytes', of: 'container', scale: 1 },
  container_start_time_seconds: { field: 'startedAtMs', of: 'container', scale: 1000 },
};

/** Labels of a sample. Names of pods, namespaces and containers never need escapes. */
function parseLabels(text: string): Record<string, string> {
  return Object.fromEntries(
    [...text.matchAll(/([a-z_]+)="([^"\\]*)"/g)].map(([, name = '', value = '']) => [name, value]),
  );
}

function pointOf({ cpuSeconds, memoryBytes, atMs, startedAtMs = 0 }: Draft): UsagePoint | undefined {
  if (cpuSeconds === undefined || memoryBytes === undefined || atMs === undefined) return undefined;
  return { cpuSeconds, memoryBytes, atMs, startedAtMs };
}

/** `receivedAtMs` stands in for timestamps that are not there. */
export function parseResourceMetrics(text: string, receivedAtMs: number): NodeReport {
  const node: Draft = {};
  const drafts = new Map<string, Map<string, Draft>>();
  for (const line of text.split('\n')) {
    if (line === '' || line.startsWith('#')) continue;
    const [, name = '', labelText = '', valueText = '', atText] = lineShape.exec(line) ?? [];
    const family = families[name];
    const value = Number(valueText);
    if (family === undefined || !Number.isFinite(value) || value < 0) continue;
    let draft = node;
    if (family.of === 'container') {
      const { namespace = '', pod = '', container = '' } = parseLabels(labelText);
      if (namespace === '' || pod === '' || container === '') continue;
      const containers = drafts.get(`${namespace}/${pod}`) ?? new Map<string, Draft>();
      drafts.set(`${namespace}/${pod}`, containers);
      draft = containers.get(container) ?? {};
      containers.set(container, draft);
    }
    draft[family.field] = family.scale === 1 ? value : Math.round(value * family.scale);
    if (family.field !== 'startedAtMs') draft.atMs = atText === undefined ? receivedAtMs : Number(atText);
  }
  const pods = new Map<string, ReadonlyMap<string, UsagePoint>>();
  for (const [pod, containers] of drafts) {
    const points = [...containers].flatMap(([container, draft]) => {
      const point = pointOf(draft);
      return point === undefined ? [] : [[container, point] as const];
    });
    if (points.length > 0) pods.set(pod, new Map(points));
  }
  return { node: pointOf(node), pods };
}
