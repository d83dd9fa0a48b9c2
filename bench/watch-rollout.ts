// The pods of one Deployment as a watcher sees them: how many there are and how many are ready, at every moment.
import type { LoadClient } from './http.ts';

/** What a rolling update may do: no more pods than `most`, no fewer ready ones than `least`. */
export interface RolloutBounds {
  most: number;
  least: number;
}

interface SeenPod {
  isBound: boolean;
  isReady: boolean;
  image: string;
}

interface PodLine {
  type: string;
  object: {
    metadata: { name: string; deletionTimestamp?: string };
    spec?: { nodeName?: string; containers?: { image?: string }[] };
    status?: { phase?: string; conditions?: { type: string; status: string }[] };
  };
}

export interface RolloutWatch {
  /** Resolves when so many pods have a node. */
  bound(count: number): Promise<void>;
  /** From now on the bounds count. */
  begin(): void;
  /** Resolves when so many pods are ready and have the image, and there are no others. */
  allRun(image: string, count: number): Promise<void>;
  end(): { violations: number; fewest: number; most: number };
}

/** Starts at once. */
export function watchRollout(client: LoadClient, path: string, bounds: RolloutBounds): RolloutWatch {
  const pods = new Map<string, SeenPod>();
  let ready = 0;
  let isCounting = false;
  let violations = 0;
  let fewest = Number.POSITIVE_INFINITY;
  let most = 0;
  let waiting: { holds: () => boolean; resolve: () => void } | undefined;

  function until(holds: () => boolean): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    waiting = { holds, resolve };
    return promise;
  }

  function take({ type, object }: PodLine): void {
    const { name, deletionTimestamp } = object.metadata;
    const before = pods.get(name);
    const phase = object.status?.phase;
    // Who is on the way out counts no more.
    const isGone = type === 'DELETED' || deletionTimestamp !== undefined || phase === 'Succeeded' || phase === 'Failed';
    const isReady = object.status?.conditions?.some((entry) => entry.type === 'Ready' && entry.status === 'True');
    const now: SeenPod = {
      isBound: (object.spec?.nodeName ?? '') !== '',
      isReady: isReady === true && !isGone,
      image: object.spec?.containers?.[0]?.image ?? '',
    };
    ready += Number(now.isReady) - Number(before?.isReady ?? false);
    if (isGone) pods.delete(name);
    else pods.set(name, now);
    if (isCounting) {
      fewest = Math.min(fewest, ready);
      most = Math.max(most, pods.size);
      if (ready < bounds.least || pods.size > bounds.most) violations += 1;
    }
    if (waiting?.holds() === true) waiting.resolve();
  }

  const stop = client.stream(path, (line) => take(JSON.parse(line) as PodLine));
  const all = () => [...pods.values()];
  return {
    bound: (count) => until(() => pods.size >= count && all().filter(({ isBound }) => isBound).length >= count),
    begin() {
      isCounting = true;
    },
    allRun: (image, count) =>
      until(() => ready === count && pods.size === count && all().every((pod) => pod.isReady && pod.image === image)),
    end() {
      stop();
      return { violations, fewest, most };
    },
  };
}
