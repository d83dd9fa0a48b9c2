// A node without containers: registers itself, renews its lease, and reports its pods as running, ready or finished.
// A pod's annotations say how it behaves: test/outcome = succeed | fail | never-ready, after test/after-ms; they may
// change. test/outcomes has one outcome for each completion index, by commas; test/exit-code and test/when-deleted = fail
// say how it ends.

import type { Logger } from 'pino';
import type { Pod } from '#kube/api/generated/core-v1.ts';
import { leases, nodes, pods } from '#kube/api/generated/resources.ts';
import { isPodReady, isPodTerminal, isPodTerminating } from '#kube/api/pod-state.ts';
import { objectKey } from '#kube/api/resource.ts';
import { formatMicroTime, formatTime } from '#kube/api/time.ts';
import type { ApiClient } from '#kube/client/types.ts';
import { isAlreadyExists, isConflict, isNotFound } from '#kube/errors/status-error.ts';
import { createInformer } from '#kube/informer/create-informer.ts';
import { systemClock } from '#kube/process/clock.ts';
import { createWorkQueue } from '#kube/queue/work-queue.ts';

export interface FakeAgentOptions {
  client: ApiClient;
  nodeName: string;
  logger: Logger;
  labels?: Record<string, string>;
  allocatable?: Record<string, string>;
  /** How often the lease is renewed. */
  leasePeriodMs?: number;
}

function outcomeOf({ metadata: { annotations = {} } }: Pod): string {
  const byIndex = annotations['test/outcomes']?.split(',');
  const index = Number(annotations['batch.kubernetes.io/job-completion-index'] ?? '0');
  return byIndex?.[index] ?? annotations['test/outcome'] ?? '';
}

const defaultAllocatable = { cpu: '8', memory: '16Gi', pods: '110', 'ephemeral-storage': '100Gi' };

/** Runs until the signal is aborted. Pods it held stay as they are, as with an agent that was killed. */
export async function runFakeAgent(options: FakeAgentOptions, signal: AbortSignal): Promise<void> {
  const { client, nodeName, logger, leasePeriodMs = 2000 } = options;
  const clock = systemClock;
  const allocatable = options.allocatable ?? defaultAllocatable;
  let nextAddress = 0;
  const addresses = new Map<string, string>();

  async function register(): Promise<void> {
    const labels = { 'kubernetes.io/hostname': nodeName, 'kubernetes.io/os': 'linux', ...options.labels };
    try {
      await client.create(nodes, undefined, { metadata: { name: nodeName, labels }, spec: {} });
    } catch (error) {
      if (!isAlreadyExists(error)) throw error;
    }
    const now = formatTime(clock.now());
    const ready = {
      type: 'Ready',
      status: 'True',
      reason: 'KubeletReady',
      message: 'fake',
      lastHeartbeatTime: now,
      lastTransitionTime: now,
    };
    const status = { capacity: allocatable, allocatable, conditions: [ready] };
    await client.patch(nodes, { name: nodeName }, 'strategic', { status }, { subresource: 'status' });
  }

  async function renewLease(): Promise<void> {
    const namespace = 'kube-node-lease';
    const spec = { holderIdentity: nodeName, leaseDurationSeconds: 40, renewTime: formatMicroTime(clock.now()) };
    try {
      await client.patch(leases, { namespace, name: nodeName }, 'merge', { spec });
    } catch (error) {
      if (!isNotFound(error)) throw error;
      await client.create(leases, namespace, { metadata: { name: nodeName, namespace }, spec });
    }
  }

  async function keepLease(): Promise<void> {
    while (!signal.aborted) {
      try {
        await renewLease();
        await clock.sleep(leasePeriodMs, signal);
      } catch (error) {
        if (!signal.aborted) logger.debug({ err: error }, 'lease not renewed');
      }
    }
  }

  const informer = createInformer({
    client,
    resource: pods,
    fieldSelector: `spec.nodeName=${nodeName}`,
    clock,
    logger,
  });
  const queue = createWorkQueue<string>({ clock, logger });
  informer.subscribe({
    added: (pod) => queue.add(objectKey(pod)),
    updated: (_, pod) => queue.add(objectKey(pod)),
  });

  function statusOf(pod: Pod, phase: string, ready: boolean): object {
    const now = formatTime(clock.now());
    const condition = (type: string, status: boolean) => ({
      type,
      status: status ? 'True' : 'False',
      lastTransitionTime: now,
    });
    const exitCode = phase === 'Failed' ? Number(pod.metadata.annotations?.['test/exit-code'] ?? '1') : 0;
    const finished = phase === 'Succeeded' || phase === 'Failed';
    const uid = pod.metadata.uid ?? '';
    if (!addresses.has(uid)) addresses.set(uid, `10.244.${nodeName.length}.${(nextAddress++ % 250) + 2}`);
    const ip = addresses.get(uid);
    return {
      phase,
      hostIP: '127.0.0.1',
      podIP: ip,
      podIPs: [{ ip }],
      startTime: pod.status?.startTime ?? now,
      conditions: [condition('Initialized', true), condition('ContainersReady', ready), condition('Ready', ready)],
      containerStatuses: (pod.spec?.containers ?? []).map(({ name, image = '' }) => ({
        name,
        image,
        imageID: '',
        restartCount: 0,
        ready,
        state: finished
          ? {
              terminated: { exitCode, reason: exitCode === 0 ? 'Completed' : 'Error', startedAt: now, finishedAt: now },
            }
          : { running: { startedAt: now } },
      })),
    };
  }

  async function write(pod: Pod, phase: string, ready: boolean): Promise<void> {
    const { namespace, name, uid } = pod.metadata;
    const patch = { metadata: { uid }, status: statusOf(pod, phase, ready) };
    await client.patch(pods, { namespace, name }, 'strategic', patch, { subresource: 'status' });
  }

  async function sync(key: string): Promise<void> {
    const pod = informer.get(key);
    if (pod === undefined) return;
    const { namespace, name, uid, annotations } = pod.metadata;
    try {
      if (isPodTerminating(pod)) {
        const phase = annotations?.['test/when-deleted'] === 'fail' ? 'Failed' : 'Succeeded';
        if (!isPodTerminal(pod) && pod.status?.phase === 'Running') await write(pod, phase, false);
        await client.delete(pods, { namespace, name }, { gracePeriodSeconds: 0, preconditions: { uid } });
        return;
      }
      if (isPodTerminal(pod)) return;
      const outcome = outcomeOf(pod);
      const ready = outcome !== 'never-ready';
      if (pod.status?.phase !== 'Running' || isPodReady(pod) !== ready) {
        await write(pod, 'Running', ready);
        return;
      }
      if (outcome === 'succeed' || outcome === 'fail') {
        await clock.sleep(Number(annotations?.['test/after-ms'] ?? '50'), signal);
        await write(pod, outcome === 'fail' ? 'Failed' : 'Succeeded', false);
      }
    } catch (error) {
      if (!isNotFound(error) && !isConflict(error)) throw error;
    }
  }

  await register();
  await Promise.all([keepLease(), informer.run(signal), queue.run(sync, { concurrency: 16, signal })]);
}
