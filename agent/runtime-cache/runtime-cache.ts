// What the runtime has, pod by pod. Relisted always; events only make it faster where the runtime has them. A pod is
// inspected when its list of ids and states changed, and listeners are told then. Older answers never replace newer.
import type { Logger } from 'pino';
import type { Clock } from '#kube/process/clock.ts';
import type { Container__Output } from '#proto/generated/cri/runtime/v1/Container.ts';
import type { PodSandbox__Output } from '#proto/generated/cri/runtime/v1/PodSandbox.ts';
import { podNameLabel, podNamespaceLabel, podUidLabel } from '../container/labels.ts';
import { isCriNotFound, isCriUnimplemented } from '../cri/cri-error.ts';
import type { RuntimeService } from '../cri/runtime-service.ts';
import { convertContainer, convertSandbox } from './convert-status.ts';
import type { PodRuntime, RuntimeContainer, RuntimeSandbox } from './pod-runtime.ts';

const eventsRetryMs = 5000;
/** How long one look at everything waits for the details of single pods: one that hangs is left behind. */
const inspectPatienceMs = 2000;

export interface RuntimeCacheOptions {
  runtime: RuntimeService;
  clock: Clock;
  logger: Logger;
  relistPeriodMs: number;
  /** Told the duration of each relist. */
  observeRelist?: (durationMs: number) => void;
}

/** The cache; `run` keeps it fresh. */
export interface RuntimeCache {
  get(uid: string): PodRuntime | undefined;
  /** The runtime has something of the pod, but has not yet answered what. */
  isPending(uid: string): boolean;
  all(): PodRuntime[];
  /** Asks the runtime about one pod now. Undefined when it has nothing of the pod. */
  refresh(uid: string, signal?: AbortSignal): Promise<PodRuntime | undefined>;
  /** Lists everything once and inspects what changed. */
  relist(signal?: AbortSignal): Promise<void>;
  /** Called with the uid of each pod that changed. */
  subscribe(listener: (uid: string) => void): void;
  run(signal: AbortSignal): Promise<void>;
  /** Monotonic time of the last complete relist. */
  readonly lastRelistMs: number;
}

interface Listed {
  sandboxes: PodSandbox__Output[];
  containers: Container__Output[];
}

interface Entry {
  runtime: PodRuntime;
  signature: string;
  /** Number of the question this is the answer to. */
  order: number;
}

function signatureOf(listed: Listed): string {
  const parts = [
    ...listed.sandboxes.map((item) => `${item.id}:${item.state}`),
    ...listed.containers.map((item) => `${item.id}:${item.state}`),
  ];
  return parts.sort().join(' ');
}

function group(listed: Listed): Map<string, Listed> {
  const pods = new Map<string, Listed>();
  const of = (labels: Record<string, string>): Listed | undefined => {
    const uid = labels[podUidLabel];
    if (uid === undefined) return undefined;
    let pod = pods.get(uid);
    if (pod === undefined) {
      pod = { sandboxes: [], containers: [] };
      pods.set(uid, pod);
    }
    return pod;
  };
  for (const sandbox of listed.sandboxes) of(sandbox.labels)?.sandboxes.push(sandbox);
  for (const container of listed.containers) of(container.labels)?.containers.push(container);
  return pods;
}

function present<T>(items: (T | undefined)[]): T[] {
  return items.filter((item) => item !== undefined);
}

/** Creates the cache. Nothing runs before `run` or a call. */
export function createRuntimeCache(options: RuntimeCacheOptions): RuntimeCache {
  const { runtime, clock, logger, relistPeriodMs } = options;
  const entries = new Map<string, Entry>();
  const listeners: ((uid: string) => void)[] = [];
  /** The question by which each pod was found gone: earlier ones do not bring it back. */
  const gone = new Map<string, number>();
  /** Pods whose details are being asked for by a relist. */
  const inspecting = new Set<string>();
  /** Pods that were listed and of which nothing else is known. */
  const pending = new Set<string>();
  // What is known of ended containers does not change any more.
  const ended = new Map<string, RuntimeContainer>();
  let lastRelistMs = clock.monotonicMs();
  let questions = 0;

  const ignoreMissing = (error: unknown): undefined => {
    if (isCriNotFound(error)) return undefined;
    throw error;
  };

  async function inspectSandbox(listed: PodSandbox__Output, signal?: AbortSignal): Promise<RuntimeSandbox | undefined> {
    const known = entries.get(listed.labels[podUidLabel] ?? '')?.runtime.sandboxes.find(({ id }) => id === listed.id);
    const ready = listed.state === 'SANDBOX_READY';
    if (known !== undefined && known.ready === ready && (known.ips.length > 0 || known.hostNetwork)) return known;
    return runtime.podSandboxStatus(listed.id, signal).then(({ status }) => convertSandbox(status), ignoreMissing);
  }

  async function inspectContainer(
    listed: Container__Output,
    signal?: AbortSignal,
  ): Promise<RuntimeContainer | undefined> {
    const known = ended.get(listed.id);
    if (known !== undefined) return known;
    const status = await runtime.containerStatus(listed.id, signal).catch(ignoreMissing);
    if (status === undefined) return undefined;
    const container = await convertContainer(listed, status);
    if (container.state === 'exited') ended.set(container.id, container);
    return container;
  }

  async function inspect(uid: string, listed: Listed, signal?: AbortSignal): Promise<PodRuntime> {
    const [sandboxes, containers] = await Promise.all([
      Promise.all(listed.sandboxes.map((item) => inspectSandbox(item, signal))),
      Promise.all(listed.containers.map((item) => inspectContainer(item, signal))),
    ]);
    const labels = listed.sandboxes[0]?.labels ?? listed.containers[0]?.labels ?? {};
    return {
      uid,
      name: labels[podNameLabel] ?? '',
      namespace: labels[podNamespaceLabel] ?? '',
      sandboxes: present(sandboxes).sort((a, b) => b.createdAtMs - a.createdAtMs),
      containers: present(containers).sort((a, b) => b.createdAtMs - a.createdAtMs),
    };
  }

  function store(uid: string, next: Entry | undefined, order: number): void {
    const current = entries.get(uid);
    if ((current?.order ?? gone.get(uid) ?? 0) > order) return;
    if (current === undefined && next === undefined) {
      pending.delete(uid);
      return;
    }
    if (next === undefined) {
      entries.delete(uid);
      gone.set(uid, order);
    } else entries.set(uid, next);
    pending.delete(uid);
    const kept = new Set(next?.runtime.containers.map(({ id }) => id));
    for (const container of current?.runtime.containers ?? []) if (!kept.has(container.id)) ended.delete(container.id);
    if (current?.signature !== next?.signature) for (const listener of listeners) listener(uid);
  }

  async function list(labelSelector: Record<string, string> | undefined, signal?: AbortSignal): Promise<Listed> {
    const filter = labelSelector === undefined ? undefined : { labelSelector };
    const [sandboxes, containers] = await Promise.all([
      runtime.listPodSandbox(filter, signal),
      runtime.listContainers(filter, signal),
    ]);
    return { sandboxes, containers };
  }

  async function refresh(uid: string, signal?: AbortSignal): Promise<PodRuntime | undefined> {
    questions += 1;
    const order = questions;
    const listed = await list({ [podUidLabel]: uid }, signal);
    const empty = listed.sandboxes.length === 0 && listed.containers.length === 0;
    const next = empty
      ? undefined
      : { runtime: await inspect(uid, listed, signal), signature: signatureOf(listed), order };
    store(uid, next, order);
    return entries.get(uid)?.runtime;
  }

  /** The details of one pod. What goes wrong is told here: the others do not wait for it. */
  async function inspectInRelist(
    uid: string,
    listed: Listed,
    { signature, order }: Pick<Entry, 'signature' | 'order'>,
    signal?: AbortSignal,
  ): Promise<void> {
    inspecting.add(uid);
    if (!entries.has(uid)) pending.add(uid);
    try {
      store(uid, { runtime: await inspect(uid, listed, signal), signature, order }, order);
    } catch (error) {
      if (signal?.aborted !== true) logger.error({ err: error, uid }, 'cannot inspect a pod of the runtime');
    } finally {
      inspecting.delete(uid);
    }
  }

  async function withPatience(work: Promise<unknown>): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = clock.after(inspectPatienceMs, resolve);
    await Promise.race([work, promise]);
    timer.cancel();
  }

  async function relist(signal?: AbortSignal): Promise<void> {
    const startedAtMs = clock.monotonicMs();
    questions += 1;
    const order = questions;
    const pods = group(await list(undefined, signal));
    const work: Promise<void>[] = [];
    for (const [uid, listed] of pods) {
      const signature = signatureOf(listed);
      if (entries.get(uid)?.signature === signature || inspecting.has(uid)) continue;
      work.push(inspectInRelist(uid, listed, { signature, order }, signal));
    }
    for (const uid of [...entries.keys()]) if (!pods.has(uid)) store(uid, undefined, order);
    for (const uid of pending) if (!pods.has(uid)) pending.delete(uid);
    await withPatience(Promise.all(work));
    for (const [uid, goneAt] of gone) if (goneAt <= order) gone.delete(uid);
    lastRelistMs = clock.monotonicMs();
    options.observeRelist?.(lastRelistMs - startedAtMs);
  }

  async function relistForever(signal: AbortSignal): Promise<void> {
    let failing = false;
    while (!signal.aborted) {
      try {
        await relist(signal);
        if (failing) logger.info('the container runtime answers again');
        failing = false;
      } catch (error) {
        // Once, not every second while the runtime is away.
        if (!signal.aborted && !failing) logger.error({ err: error }, 'cannot list pods of the runtime');
        failing = true;
      }
      await clock.sleep(relistPeriodMs, signal).catch(() => undefined);
    }
  }

  async function followEvents(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        for await (const event of runtime.containerEvents(signal)) {
          const uid = event.podSandboxStatus?.labels[podUidLabel];
          if (uid !== undefined) await refresh(uid, signal);
        }
      } catch (error) {
        if (isCriUnimplemented(error)) return;
        if (!signal.aborted) logger.warn({ err: error }, 'the stream of container events broke');
      }
      await clock.sleep(eventsRetryMs, signal).catch(() => undefined);
    }
  }

  return {
    get: (uid) => entries.get(uid)?.runtime,
    isPending: (uid) => pending.has(uid),
    all: () => [...entries.values()].map((entry) => entry.runtime),
    refresh,
    relist,
    subscribe: (listener) => void listeners.push(listener),
    async run(signal) {
      await Promise.all([relistForever(signal), followEvents(signal)]);
    },
    get lastRelistMs() {
      return lastRelistMs;
    },
  };
}
