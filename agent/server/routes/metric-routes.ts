// Metrics and statistics for Prometheus, metrics-server and `kubectl top`.
import { statfs, statSync } from 'node:fs';
import { Readable } from 'node:stream';
import { promisify } from 'node:util';
import type { FastifyInstance } from 'fastify';
import type { ComponentMetrics } from '#kube/metrics/metrics.ts';
import type { ContainerStats__Output } from '#proto/generated/cri/runtime/v1/ContainerStats.ts';
import type { ImageService } from '../../cri/image-service.ts';
import type { RuntimeService } from '../../cri/runtime-service.ts';
import type { MachineFacts } from '../../node/machine-facts.ts';
import { computeSummary, type FsStats } from '../../stats/compute-summary.ts';
import type { MetricGroups } from '../../stats/metric-groups.ts';
import { readNumber, readText } from '../../stats/read-file.ts';
import { renderCadvisor } from '../../stats/render-cadvisor.ts';
import { type PodDisk, renderEphemeralStorage } from '../../stats/render-ephemeral-storage.ts';
import { renderResource } from '../../stats/render-resource.ts';
import type { Sample } from '../../stats/sampler.ts';
import type { VolumeStats, VolumeStatsSource } from '../../volume/volume-stats.ts';
import type { AgentMetrics } from '../agent-metrics.ts';
import type { NodeView } from '../node-view.ts';
import { metricGroupRoutes } from './metric-group-routes.ts';

const statsShareMs = 10_000;
const textType = 'text/plain; version=0.0.4; charset=utf-8';

export interface MetricRouteOptions {
  sample: Sample;
  groups: MetricGroups;
  view: NodeView;
  facts: MachineFacts;
  runtime: RuntimeService;
  images: ImageService;
  metrics: ComponentMetrics;
  agentMetrics: AgentMetrics;
  volumeStats: VolumeStatsSource;
  rootDir: string;
  /** Groups can be switched here. */
  switches: boolean;
}

async function fsStats(path: string): Promise<FsStats | undefined> {
  const stats = await promisify(statfs)(path).catch(() => undefined);
  if (stats === undefined) return undefined;
  return {
    availableBytes: stats.bavail * stats.bsize,
    capacityBytes: stats.blocks * stats.bsize,
    usedBytes: (stats.blocks - stats.bfree) * stats.bsize,
    inodesFree: stats.ffree,
    inodes: stats.files,
    inodesUsed: stats.files - stats.ffree,
  };
}

async function imageFsStats(images: ImageService): Promise<FsStats | undefined> {
  const [info] = await images.imageFsInfo().then(
    ({ imageFilesystems }) => imageFilesystems,
    () => [],
  );
  const path = info?.fsId?.mountpoint;
  const stats = path === undefined ? undefined : await fsStats(path);
  if (stats === undefined || info === undefined) return stats;
  return {
    ...stats,
    usedBytes: info.usedBytes?.value ?? stats.usedBytes,
    inodesUsed: info.inodesUsed?.value ?? stats.inodesUsed,
  };
}

/** Sockets and cores in the text of /proc/cpuinfo; virtual machines may not tell. */
export function countProcessors(cpuinfo: string, logical: number): { sockets: number; physicalCores: number } {
  const sockets = new Set<string>();
  const cores = new Set<string>();
  for (const block of cpuinfo.split('\n\n')) {
    const socket = /^physical id\s*:\s*(\d+)/m.exec(block)?.[1];
    const core = /^core id\s*:\s*(\d+)/m.exec(block)?.[1];
    if (socket !== undefined) sockets.add(socket);
    if (socket !== undefined && core !== undefined) cores.add(`${socket}/${core}`);
  }
  return { sockets: sockets.size || 1, physicalCores: cores.size || logical };
}

/** Registers the routes. */
export function metricRoutes(server: FastifyInstance, options: MetricRouteOptions): void {
  const { sample, groups, view, facts, metrics, agentMetrics } = options;
  const processors = countProcessors(readText('/proc/cpuinfo'), facts.cpus);
  const bootedAtMs = Number(/^btime (\d+)$/m.exec(readText('/proc/stat'))?.[1] ?? 0) * 1000;

  let asked: { atMs: number; stats: Promise<ContainerStats__Output[]> } | undefined;

  /** What the runtime counts of containers: dear to it, and therefore shared for as long as a sample. */
  function readContainerStats(): Promise<ContainerStats__Output[]> {
    const now = performance.now();
    if (asked === undefined || now - asked.atMs >= statsShareMs) {
      asked = { atMs: now, stats: options.runtime.listContainerStats().catch(() => []) };
    }
    return asked.stats;
  }

  async function summary(onlyCpuAndMemory: boolean): Promise<unknown> {
    const [taken, nodeFs, imageFs, containerStats] = await Promise.all([
      sample(),
      fsStats(options.rootDir),
      imageFsStats(options.images),
      onlyCpuAndMemory ? [] : readContainerStats(),
    ]);
    const volumes = new Map<string, readonly VolumeStats[]>();
    if (!onlyCpuAndMemory) {
      await Promise.all(
        view.pods().map(async ({ metadata: { uid = '' } }) => volumes.set(uid, await options.volumeStats.of(uid))),
      );
    }
    const logs = new Map(
      view.allRuntimes().flatMap(({ containers }) => containers.map(({ id, logPath }) => [id, logPath] as const)),
    );
    return computeSummary(
      taken,
      {
        nodeName: view.nodeName,
        bootedAtMs,
        memoryBytes: facts.memoryBytes,
        nodeFs,
        imageFs,
        containerStats,
        logBytes: (id) => statSync(logs.get(id) ?? '', { throwIfNoEntry: false })?.size,
        volumes: (uid) => volumes.get(uid) ?? [],
        maxPids: readNumber('/proc/sys/kernel/pid_max'),
        processes: Number(/\/(\d+)/.exec(readText('/proc/loadavg'))?.[1] ?? 0),
      },
      onlyCpuAndMemory,
    );
  }

  async function disks(): Promise<PodDisk[]> {
    const written = await readContainerStats();
    const pods = view.pods().filter(({ metadata }) => view.runtimeOf(metadata.uid ?? '') !== undefined);
    return Promise.all(
      pods.map(async ({ metadata: { name, namespace = '', uid = '' } }) => {
        const runs = view.runtimeOf(uid)?.containers.filter(({ state }) => state === 'running') ?? [];
        const containers = runs.map((run) => {
          const layer = written.find(({ attributes }) => attributes?.id === run.id)?.writableLayer;
          const rootfsBytes = layer?.usedBytes?.value;
          return { name: run.name, rootfsBytes, logBytes: statSync(run.logPath, { throwIfNoEntry: false })?.size };
        });
        const volumes = (await options.volumeStats.of(uid)).filter(({ isLocal }) => isLocal);
        return { namespace, name, containers, volumes };
      }),
    );
  }

  async function own(): Promise<string> {
    const found = groups.isOn('ephemeral_storage') ? await disks() : [];
    const storage = groups.render('ephemeral_storage', (text) => renderEphemeralStorage(text, found));
    return `${await metrics.registry.metrics()}${storage}${groups.text()}`;
  }

  server.get('/metrics', async (_, reply) => reply.type(agentMetrics.contentType).send(await own()));
  server.get('/metrics/cadvisor', async (_, reply) =>
    reply
      .type(textType)
      .send(Readable.from(renderCadvisor(await sample(), { facts, ...processors }, groups), { objectMode: false })),
  );
  server.get('/metrics/resource', async (_, reply) => {
    const taken = groups.isOn('resource') ? await sample() : undefined;
    const text = groups.render('resource', (target) => taken !== undefined && renderResource(target, taken));
    return reply.type(textType).send(text);
  });
  server.get('/metrics/probes', async (_, reply) => {
    const text = groups.isOn('probes') ? groups.rendered('probes', await agentMetrics.probeText()) : '';
    return reply.type(textType).send(text);
  });
  metricGroupRoutes(server, groups, options.switches);
  server.get<{ Querystring: { only_cpu_and_memory?: string } }>('/stats/summary', (request) =>
    summary(request.query.only_cpu_and_memory === 'true'),
  );
}
