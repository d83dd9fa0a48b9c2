// Makes sure that a container's image is on the node, by its pull policy (pkg/kubelet/images/image_manager.go).
import type { Logger } from 'pino';
import type { Container, Pod } from '#kube/api/generated/core-v1.ts';
import type { Clock } from '#kube/process/clock.ts';
import type { PodSandboxConfig } from '#proto/generated/cri/runtime/v1/PodSandboxConfig.ts';
import type { ImageUser } from '../container/security-context.ts';
import type { ImageService } from '../cri/image-service.ts';
import { createLimiter } from '../cri/limit-calls.ts';
import type { KeyBackoff, KeyDelay } from '../sync/key-backoff.ts';
import type { RecordPodEvent } from '../sync/pod-events.ts';
import { parseImageReference, withDefaultTag } from './image-reference.ts';
import { type RegistryCredential, selectCredentials } from './pull-credentials.ts';

/** After a failed pull the pod is looked at again, and then shows that it backs off. */
const recheckMs = 2000;

/** An image that is there. */
export interface PresentImage {
  /** The id by which containers name it. */
  id: string;
  user: ImageUser;
}

/** An image that is not there; `reason` is what the container waits with. */
export class ImageError extends Error {
  readonly code = 'IMAGE';
  readonly reason: 'ErrImagePull' | 'ImagePullBackOff' | 'ErrImageNeverPull' | 'InvalidImageName' | 'ImageInspectError';
  /** When to look again, in milliseconds from now. */
  readonly retryAfterMs: number | undefined;

  constructor(reason: ImageError['reason'], message: string, retryAfterMs?: number, options?: ErrorOptions) {
    super(message, options);
    this.name = 'ImageError';
    this.reason = reason;
    this.retryAfterMs = retryAfterMs;
  }
}

export interface ImageEnsurerOptions {
  images: ImageService;
  clock: Clock;
  logger: Logger;
  record: RecordPodEvent;
  /** By pod uid and image: `uid_image`. */
  backoff: KeyBackoff;
  /** Pulls at once: serializeImagePulls, maxParallelImagePulls. */
  parallelPulls: number;
}

/** Throws ImageError. */
export type EnsureImage = (
  pod: Pod,
  container: Container,
  sandbox: PodSandboxConfig,
  credentials: () => Promise<RegistryCredential[]>,
  signal: AbortSignal,
) => Promise<PresentImage>;

/** `1.234s`, `234ms`: as Go prints a duration rounded to milliseconds. */
function formatDuration(ms: number): string {
  const rounded = Math.round(ms);
  if (rounded < 1000) return `${rounded}ms`;
  const minutes = Math.floor(rounded / 60_000);
  return `${minutes > 0 ? `${minutes}m` : ''}${(rounded % 60_000) / 1000}s`;
}

/** The policy, with the default that depends on the tag. */
function pullPolicy(container: Container, tag: string | undefined, digest: string | undefined): string {
  if (container.imagePullPolicy !== undefined) return container.imagePullPolicy;
  return digest === undefined && (tag === undefined || tag === 'latest') ? 'Always' : 'IfNotPresent';
}

/** Creates the function that pods' containers go through. */
export function createEnsureImage(options: ImageEnsurerOptions): EnsureImage {
  const { images, clock, logger, record, backoff } = options;
  const failures = new Map<string, { atMs: number; message: string }>();
  const pulling = createLimiter(options.parallelPulls);

  async function inspect(image: string, signal: AbortSignal): Promise<PresentImage | undefined> {
    const found = await images.imageStatus({ image, userSpecifiedImage: image }, signal);
    if (found === undefined) return undefined;
    return { id: found.id, user: { uid: found.uid?.value ?? undefined, username: found.username } };
  }

  async function pull(
    pod: Pod,
    container: Container,
    image: string,
    sandbox: PodSandboxConfig,
    credentials: readonly RegistryCredential[],
    signal: AbortSignal,
  ): Promise<void> {
    const reference = parseImageReference(image);
    const choices = reference === undefined ? [] : selectCredentials(reference, credentials);
    const spec = { image, annotations: { ...pod.metadata.annotations } };
    const queuedAtMs = clock.monotonicMs();
    await pulling(async () => {
      const startedAtMs = clock.monotonicMs();
      let failure: unknown;
      for (const auth of choices.length > 0 ? choices : [undefined]) {
        try {
          await images.pullImage(spec, auth, sandbox, signal);
          failure = undefined;
          break;
        } catch (error) {
          signal.throwIfAborted();
          failure = error;
        }
      }
      if (failure !== undefined) throw failure;
      const now = clock.monotonicMs();
      const size = (await images.imageStatus({ image }, signal))?.size ?? 0;
      const took = formatDuration(now - startedAtMs);
      const waited = formatDuration(now - queuedAtMs);
      const message = `Successfully pulled image "${container.image}" in ${took} (${waited} including waiting). Image size: ${size} bytes.`;
      record(pod, 'Normal', 'Pulled', message, container.name);
    });
  }

  function backOff(pod: Pod, container: Container, key: string, delay: KeyDelay): never {
    record(pod, 'Normal', 'BackOff', `Back-off pulling image "${container.image}"`, container.name);
    const before = failures.get(key)?.message;
    const message = `Back-off pulling image "${container.image}"${before === undefined ? '' : `: ErrImagePull: ${before}`}`;
    throw new ImageError('ImagePullBackOff', message, delay.untilMs - clock.now());
  }

  return async (pod, container, sandbox, credentials, signal) => {
    const { name, image: given = '' } = container;
    const reference = parseImageReference(given);
    if (reference === undefined) {
      const message = `Failed to apply default image tag "${given}": couldn't parse image name "${given}": invalid reference format`;
      record(pod, 'Warning', 'InspectFailed', message, name);
      throw new ImageError('InvalidImageName', message);
    }
    const image = withDefaultTag(given, reference);
    const policy = pullPolicy(container, reference.tag, reference.digest);
    const present = await inspect(image, signal);
    if (present !== undefined && policy !== 'Always') {
      const message = `Container image "${given}" already present on machine and can be accessed by the pod`;
      record(pod, 'Normal', 'Pulled', message, name);
      return present;
    }
    if (present === undefined && policy === 'Never') {
      const message = `Container image "${given}" is not present with pull policy of Never`;
      record(pod, 'Warning', 'ErrImageNeverPull', message, name);
      throw new ImageError('ErrImageNeverPull', message);
    }
    const key = `${pod.metadata.uid}_${image}`;
    const delay = backoff.waiting(key, failures.get(key)?.atMs ?? Number.NEGATIVE_INFINITY);
    if (delay !== undefined) return backOff(pod, container, key, delay);
    record(pod, 'Normal', 'Pulling', `Pulling image "${given}"`, name);
    try {
      await pull(pod, container, image, sandbox, await credentials(), signal);
    } catch (error) {
      signal.throwIfAborted();
      const { message } = error as Error;
      record(pod, 'Warning', 'Failed', `Failed to pull image "${given}": ${message}`, name);
      logger.warn({ image, err: error }, 'cannot pull image');
      const atMs = clock.now();
      backoff.advance(key, atMs);
      failures.set(key, { atMs, message });
      throw new ImageError('ErrImagePull', message, recheckMs, { cause: error });
    }
    backoff.reset(key);
    failures.delete(key);
    const pulled = await inspect(image, signal);
    if (pulled === undefined) throw new ImageError('ImageInspectError', `image "${given}" was pulled but is not there`);
    return pulled;
  };
}
