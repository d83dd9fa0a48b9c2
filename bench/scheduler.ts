// The scheduler's rows: pods a second through the whole API, beside pods that a client binds by itself, and how that
// grows with the pods that are there.
import { startBenchedControlPlane, stopBenchedControlPlane } from './api-server.ts';
import type { LoadClient } from './http.ts';
import { type Row, residentMb } from './measure.ts';
import { bindBarely, createNodes, type PodShape, schedulePods } from './scheduling.ts';

const nodes = 1000;
const measured = 3000;
const sample = 1000;
const sizes = [1000, 10_000, 50_000] as const;

const zoned: PodShape = () => ({
  labels: { app: 'spread' },
  spec: {
    topologySpreadConstraints: [
      {
        maxSkew: 1,
        topologyKey: 'topology.kubernetes.io/zone',
        whenUnsatisfiable: 'DoNotSchedule',
        labelSelector: { matchLabels: { app: 'spread' } },
      },
    ],
  },
});

async function rowsAt(client: LoadClient, size: number, pid: number): Promise<Row[]> {
  const at = size.toLocaleString('en');
  const plain = await schedulePods(client, `at-${size}`, sample);
  const spread = await schedulePods(client, `zoned-${size}`, sample / 2, zoned);
  return [
    { work: `same, at ${at} pods that are there`, unit: 'pods/s', berth: plain.perSecond, budget: 'level' },
    { work: 'same, with a hard spread over zones', unit: 'pods/s', berth: spread.perSecond, budget: 'level' },
    { work: 'same: memory', unit: 'MB', berth: residentMb(pid), budget: '-' },
  ];
}

/** Runs all rows on one control plane that fills up. */
export async function benchScheduler(): Promise<Row[]> {
  const plane = await startBenchedControlPlane(['--node-monitor-grace-period=1h']);
  const { client, child } = plane;
  try {
    await createNodes(client, nodes);
    // The first thousand are there before anything is measured: the compiler has seen the way of a pod.
    await schedulePods(client, 'warm', sizes[0]);
    const growth = await rowsAt(client, sizes[0], child.pid ?? 0);
    const floor = await bindBarely(client, 'bare', measured, nodes);
    const { perSecond, spread } = await schedulePods(client, 'first', measured);
    const rows: Row[] = [
      {
        work: 'scheduler, 3,000 pods on 1,000 nodes',
        unit: 'pods/s',
        berth: perSecond,
        floor,
        budget: '2,000 pods/s',
      },
      { work: 'same: fullest minus emptiest node', unit: 'pods', berth: spread, budget: 'no worse than upstream (1)' },
    ];
    rows.push(...growth);
    let held = sizes[0] + sample * 1.5 + 2 * measured;
    for (const size of sizes.slice(1)) {
      await schedulePods(client, `fill-${size}`, size - held);
      held = size;
      rows.push(...(await rowsAt(client, size, child.pid ?? 0)));
      held += sample * 1.5;
    }
    return rows;
  } finally {
    await stopBenchedControlPlane(plane);
  }
}
