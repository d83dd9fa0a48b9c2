// The agent rows: its start, the event loop during a burst, memory and processor over five idle minutes at 100 pods,
// and what each endpoint costs a scraper. Runs inside the namespace of a cluster of the bench's own.
import { computeLayout } from '../cli/up/layout.ts';
import { readRunState } from '../cli/up/run-state.ts';
import { createLoadClient, mustCall } from './http.ts';
import { median, type Row, residentMb } from './measure.ts';
import { burst, cores } from './pods.ts';

const podCount = 100;
const idleSeconds = Number(process.env['BENCH_IDLE_SECONDS'] ?? 300);
const endpoints = ['/metrics', '/metrics/cadvisor', '/metrics/resource', '/metrics/probes', '/stats/summary'];
const scrapes = 10;

function readSeries(text: string, series: string): number {
  const line = text.split('\n').find((item) => item.startsWith(`${series} `));
  return Number(line?.slice(series.length + 1) ?? Number.NaN);
}

/** Runs all rows against the cluster of the instance. */
export async function benchAgent(instance: string, hostname: string): Promise<Row[]> {
  const layout = computeLayout({ instance, hostname, nodeCount: 1 });
  const [node] = layout.nodes;
  const state = await readRunState(layout.stateFile);
  if (node === undefined || state === undefined) throw new Error(`no cluster ${instance} is up`);
  const pid = state.processes.find(({ name }) => name.startsWith('agent'))?.pid ?? 0;
  const client = createLoadClient(layout.adminKubeconfig, 16);
  const agent = createLoadClient(layout.adminKubeconfig, 1, `https://${state.nodeIP}:10250`);
  const metrics = async () => (await mustCall(agent, 'GET', '/metrics')).toString();
  const rows: Row[] = [];
  const started = await metrics();
  const prefix = 'kubelet_node_startup_';
  rows.push({
    work: 'agent: start of the process to registered node',
    unit: 's',
    berth:
      readSeries(started, `${prefix}pre_registration_duration_seconds`) +
      readSeries(started, `${prefix}registration_duration_seconds`),
    budget: '<= 1 s',
  });
  const all = await burst(client, node.name, podCount, async () => {
    const after = await metrics();
    rows.push({
      work: 'same: event loop late during a burst of 100 pods, 99.9th percentile',
      unit: 'ms',
      berth: readSeries(after, 'berth_event_loop_delay_seconds{percentile="99.9"}') * 1000,
      budget: '<= 50 ms',
    });
    const used = await cores([pid], idleSeconds);
    rows.push({
      work: `agent at 100 idle pods, ${idleSeconds} s: memory`,
      unit: 'MB',
      berth: residentMb(pid),
      budget: '<= 120 MB',
    });
    rows.push({ work: 'same: processor', unit: 'cores', berth: used, budget: '<= 0.03 cores' });
    for (const path of endpoints) {
      const times: number[] = [];
      for (let i = 0; i < scrapes; i += 1) {
        const startedMs = performance.now();
        await mustCall(agent, 'GET', path);
        times.push(performance.now() - startedMs);
      }
      rows.push({
        work: `${path} at 100 pods, median of ${scrapes}`,
        unit: 'ms',
        berth: median(times),
        budget: '<= 70 ms',
      });
      rows.push({
        work: 'same: slowest, with a sample of its own',
        unit: 'ms',
        berth: Math.max(...times),
        budget: '-',
      });
    }
  });
  rows.push({ work: '100 pods at once, all Ready', unit: 's', berth: all.readySeconds, budget: '-' });
  return rows;
}
