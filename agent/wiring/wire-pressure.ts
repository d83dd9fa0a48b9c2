// What keeps the node from running full: the collectors of images and dead containers, and eviction.
import { join } from 'node:path';
import { Counter } from 'prom-client';
import type { Pod } from '#kube/api/generated/core-v1.ts';
import { pods as podsResource } from '#kube/api/generated/resources.ts';
import { type EventRecorder, referenceTo } from '#kube/events/event-recorder.ts';
import { runGroup } from '#kube/process/component.ts';
import { createContainerGarbage } from '../container/container-garbage.ts';
import { createEvictionManager } from '../eviction/eviction-manager.ts';
import { openEvictionRecords } from '../eviction/eviction-records.ts';
import { measurePods } from '../eviction/measure-pods.ts';
import { readMemorySignals, readSignals } from '../eviction/read-signals.ts';
import { createImageGarbage } from '../image/image-garbage.ts';
import { openOomCounts } from '../oom/oom-counts.ts';
import { runOomWatcher } from '../oom/oom-watcher.ts';
import type { RecordPodEvent } from '../sync/pod-events.ts';
import type { PodWorkers } from '../sync/pod-workers.ts';
import type { VolumeManager } from '../volume/volume-manager.ts';
import type { AgentParts } from './agent-parts.ts';
import type { NodeParts } from './wire-node.ts';
import type { RuntimeParts } from './wire-runtime.ts';

export interface PressureConnections {
  runtimeParts: RuntimeParts;
  nodeParts: NodeParts;
  recorder: EventRecorder;
  volumes: VolumeManager;
  workers: PodWorkers;
  recordPod: RecordPodEvent;
  /** The directory of a pod's logs. */
  logsOf(pod: Pod): string;
}

/** Connects them. */
export async function wirePressure(parts: AgentParts, connections: PressureConnections) {
  const { settings, nodeName, facts, clock, logger } = parts;
  const { recorder, volumes, workers, logsOf } = connections;
  const { direct, images, cgroups, cgroupReader, cache } = connections.runtimeParts;
  const registers = [parts.metrics.registry];
  const evictions = new Counter({
    name: 'kubelet_evictions',
    help: 'Cumulative number of pod evictions by eviction signal',
    labelNames: ['eviction_signal'],
    registers,
  });
  const removedImages = new Counter({
    name: 'kubelet_image_garbage_collected_total',
    help: 'Total number of images garbage collected by the kubelet, whether through disk usage or image age.',
    labelNames: ['reason'],
    registers,
  });
  const node = { apiVersion: 'v1', kind: 'Node', name: nodeName, uid: nodeName };
  const recordNode = (type: 'Normal' | 'Warning', reason: string, message: string) =>
    recorder.event(node, type, reason, message);
  const imageGarbage = createImageGarbage({
    images,
    runtime: direct,
    policy: settings.imageGarbage,
    record: recordNode,
    clock,
    logger,
    // What `berth up` brings has no registry to come from again.
    isKept: (name) => name.startsWith('localhost/berth/'),
    removed: (reason) => removedImages.inc({ reason }),
  });
  const containerGarbage = createContainerGarbage({
    runtime: direct,
    pods: cache.all,
    hasEnded: workers.hasEnded,
    refresh: cache.refresh,
    policy: settings.containerGarbage,
    clock,
    logger,
  });
  const sources = {
    rootDir: settings.rootDir,
    images,
    reader: cgroupReader,
    memoryBytes: facts.memoryBytes,
    podsPath: cgroups.podsPath,
  };
  const measure = {
    reader: cgroupReader,
    runtime: direct,
    volumes,
    runtimeOf: cache.get,
    pathOf: cgroups.pathOf,
    logsOf,
  };
  const records = await openEvictionRecords(join(settings.rootDir, 'evictions.json'), logger);
  const manager = createEvictionManager({
    thresholds: settings.evictionThresholds,
    transitionMs: settings.pressureTransitionMs,
    maxPodGraceSeconds: settings.evictionMaxPodGraceSeconds,
    observe: () => readSignals(sources),
    observeMemory: () => readMemorySignals(sources),
    pods: workers.endable,
    isGone: workers.hasEnded,
    measure: (pods, withDisk, signal) => measurePods(measure, pods, withDisk, signal),
    reclaim: { containers: containerGarbage.removeUnused, images: imageGarbage.removeUnused },
    end: workers.end,
    records,
    recordPod: (pod, reason, message, annotations) =>
      recorder.event(referenceTo(podsResource, pod), 'Warning', reason, message, { annotations }),
    recordNode,
    changed: connections.nodeParts.reporter.wake,
    evicted: (signal) => evictions.inc({ eviction_signal: signal }),
    clock,
    logger,
  });
  const oomKills = await openOomCounts(join(settings.rootDir, 'oom_kills.json'), facts.bootId, logger);
  const oom = {
    path: '/dev/kmsg',
    counts: oomKills,
    runtimes: cache.all,
    podOf: workers.get,
    recordPod: connections.recordPod,
    recordNode,
    clock,
    logger,
  };
  return {
    pressure: manager.pressure,
    oomKills: oomKills.of,
    records,
    run: (signal: AbortSignal) =>
      runGroup([manager, imageGarbage, containerGarbage, { run: (stop) => runOomWatcher(oom, stop) }], signal),
  };
}
