// One pull: waits for its turn, tries the pod's credentials one after the other, remembers which of them opened the
// image (pkg/kubelet/kuberuntime/kuberuntime_image.go).
import type { Pod } from '#kube/api/generated/core-v1.ts';
import type { Clock } from '#kube/process/clock.ts';
import type { PodSandboxConfig } from '#proto/generated/cri/runtime/v1/PodSandboxConfig.ts';
import type { ImageService } from '../cri/image-service.ts';
import { createLimiter } from '../cri/limit-calls.ts';
import type { RegistryCredential } from './pull-credentials.ts';
import type { PullRecords } from './records/pull-records.ts';

/** A pull that takes so long may hang: it goes on, and the next one begins beside it. */
const patienceMs = 300_000;

export interface ImagePullerOptions {
  images: ImageService;
  clock: Clock;
  /** Absent: nothing is remembered. */
  records: PullRecords | undefined;
  /** Pulls at once. */
  parallelPulls: number;
  /** Whether one more may start now. */
  mayPull(): boolean;
}

/** What a pull took. */
export interface FinishedPull {
  /** The id of the image, as the runtime knows it. */
  imageRef: string;
  tookMs: number;
  /** With the time before its turn came. */
  waitedMs: number;
}

export type PullImage = (
  pod: Pod,
  image: string,
  sandbox: PodSandboxConfig,
  credentials: readonly RegistryCredential[],
  signal: AbortSignal,
) => Promise<FinishedPull>;

/** Several refusals as one, each text once. */
function together(failures: readonly Error[]): Error {
  const texts = [...new Set(failures.map(({ message }) => message))];
  const [only] = failures;
  if (texts.length === 1 && only !== undefined) return only;
  return new AggregateError(failures, `[${texts.join(', ')}]`);
}

/** Creates the function that every pull goes through. It rejects with the runtime's error. */
export function createPullImage(options: ImagePullerOptions): PullImage {
  const { images, clock, records, mayPull } = options;
  const takeTurn = createLimiter(options.parallelPulls, { clock: options.clock, ms: patienceMs });

  return async (pod, image, sandbox, credentials, signal) => {
    const queuedAtMs = clock.monotonicMs();
    return takeTurn(async () => {
      if (!mayPull()) throw new Error('pull QPS exceeded');
      const startedAtMs = clock.monotonicMs();
      const spec = { image, annotations: { ...pod.metadata.annotations } };
      const failures: Error[] = [];
      await records?.begin(image);
      for (const credential of credentials.length > 0 ? credentials : [undefined]) {
        try {
          const pulled = await images.pullImage(spec, credential?.auth, sandbox, signal);
          const found = await images.imageStatus({ image }, signal);
          const imageRef = found?.id ?? pulled;
          await records?.succeeded(image, imageRef, credential);
          const now = clock.monotonicMs();
          return { imageRef, tookMs: now - startedAtMs, waitedMs: now - queuedAtMs };
        } catch (error) {
          if (signal.aborted) await records?.failed(image);
          signal.throwIfAborted();
          failures.push(error as Error);
        }
      }
      await records?.failed(image);
      throw together(failures);
    });
  };
}
