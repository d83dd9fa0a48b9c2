// Makes sure that a container's image is on the node, by its pull policy (pkg/kubelet/images/image_manager.go).
import type { Logger } from 'pino';
import type { Container, Pod } from '#kube/api/generated/core-v1.ts';
import type { Clock } from '#kube/process/clock.ts';
import type { Image__Output } from '#proto/generated/cri/runtime/v1/Image.ts';
import type { PodSandboxConfig } from '#proto/generated/cri/runtime/v1/PodSandboxConfig.ts';
import type { ImageUser } from '../container/security-context.ts';
import type { ImageService } from '../cri/image-service.ts';
import type { KeyBackoff, KeyDelay } from '../sync/key-backoff.ts';
import type { RecordPodEvent } from '../sync/pod-events.ts';
import { imageNameFault, parseImageReference, repositoryOf, withDefaultTag } from './image-reference.ts';
import { type RegistryCredential, selectCredentials } from './pull-credentials.ts';
import { createPullImage, type FinishedPull } from './pull-image.ts';
import type { PullRecords } from './records/pull-records.ts';

/** What the runtime's own reasons begin with; they become the container's. */
const runtimeReasons = {
  RegistryUnavailable: 'the registry is unavailable',
  SignatureValidationFailed: 'the signature validation failed',
} as const;
/** What failed pulls said is kept for so long. */
const failureKeptMs = 600_000;

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
  readonly reason:
    | 'ErrImagePull'
    | 'ImagePullBackOff'
    | 'ErrImageNeverPull'
    | 'InvalidImageName'
    | 'ImageInspectError'
    | keyof typeof runtimeReasons;
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
  /** Who pulled what with which credentials. Absent: images that are there are everybody's. */
  records?: PullRecords | undefined;
  /** Whether one more pull may start now: registryPullQPS. */
  mayPull?: (() => boolean) | undefined;
  /** Told how each wish for an image went. */
  observe?(image: { policy: string; present: Known; pullRequired: Known }): void;
}

type Known = 'true' | 'false' | 'unknown';

/** Throws ImageError. */
export type EnsureImage = (
  pod: Pod,
  container: Container,
  sandbox: PodSandboxConfig,
  credentials: (image: string) => Promise<RegistryCredential[]>,
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

function presentImage({ id, uid, username }: Image__Output): PresentImage {
  return { id, user: { uid: uid?.value ?? undefined, username } };
}

/** Asks once, and only when somebody wants the answer. */
function lazily<T>(ask: () => Promise<T>): () => Promise<T> {
  let asked: Promise<T> | undefined;
  return () => {
    asked ??= ask();
    return asked;
  };
}

/** The reason and the text of a failed pull. */
function refusal(image: string, message: string): { reason: ImageError['reason']; text: string } {
  for (const [reason, what] of Object.entries(runtimeReasons)) {
    if (!message.startsWith(reason)) continue;
    const text = `image pull failed for ${image} because ${what}${message.slice(reason.length)}`;
    return { reason: reason as keyof typeof runtimeReasons, text };
  }
  return { reason: 'ErrImagePull', text: message };
}

/** Creates the function that pods' containers go through. */
export function createEnsureImage(options: ImageEnsurerOptions): EnsureImage {
  const { images, clock, logger, record, backoff } = options;
  const { records, mayPull = () => true } = options;
  const failures = new Map<string, { atMs: number; reason: ImageError['reason']; message: string }>();
  const pull = createPullImage({ images, clock, records, parallelPulls: options.parallelPulls, mayPull });

  async function inspect(image: string, signal: AbortSignal): Promise<PresentImage | undefined> {
    const found = await images.imageStatus({ image, userSpecifiedImage: image }, signal);
    return found === undefined ? undefined : presentImage(found);
  }

  function backOff(pod: Pod, container: Container, key: string, delay: KeyDelay): never {
    record(pod, 'Normal', 'BackOff', `Back-off pulling image "${container.image}"`, container.name);
    const before = failures.get(key);
    const why = before === undefined ? '' : `: ${before.reason}: ${before.message}`;
    const message = `Back-off pulling image "${container.image}"${why}`;
    throw new ImageError('ImagePullBackOff', message, delay.untilMs - clock.now());
  }

  return async (pod, container, sandbox, credentials, signal) => {
    const { name, image: given = '' } = container;
    const reference = parseImageReference(given);
    if (reference === undefined) {
      const message = `Failed to apply default image tag "${given}": couldn't parse image name "${given}": ${imageNameFault(given)}`;
      record(pod, 'Warning', 'InspectFailed', message, name);
      throw new ImageError('InvalidImageName', message);
    }
    const image = withDefaultTag(given, reference);
    const policy = pullPolicy(container, reference.tag, reference.digest);
    const choices = lazily(async () => selectCredentials(reference, await credentials(repositoryOf(reference))));
    const present = policy === 'Always' ? undefined : await inspect(image, signal);
    const found = policy === 'Always' ? 'unknown' : present === undefined ? 'false' : 'true';
    const observe = (pullRequired: Known) => options.observe?.({ policy, present: found, pullRequired });
    if (present !== undefined && (records === undefined || (await records.mayUse(image, present.id, choices)))) {
      const message = `Container image "${given}" already present on machine and can be accessed by the pod`;
      record(pod, 'Normal', 'Pulled', message, name);
      observe('false');
      return present;
    }
    if (policy === 'Never') {
      observe(present === undefined ? 'unknown' : 'true');
      const state = present === undefined ? 'is not present' : "is present, but not for this pod's credentials,";
      const message = `Container image "${given}" ${state} with pull policy of Never`;
      record(pod, 'Warning', 'ErrImageNeverPull', message, name);
      throw new ImageError('ErrImageNeverPull', message);
    }
    observe('true');
    const key = `${pod.metadata.uid}_${image}`;
    const delay = backoff.waiting(key, failures.get(key)?.atMs ?? Number.NEGATIVE_INFINITY);
    if (delay !== undefined) return backOff(pod, container, key, delay);
    record(pod, 'Normal', 'Pulling', `Pulling image "${given}"`, name);
    let pulled: FinishedPull;
    try {
      pulled = await pull(pod, image, sandbox, await choices(), signal);
    } catch (error) {
      signal.throwIfAborted();
      const { reason, text } = refusal(given, (error as Error).message);
      record(pod, 'Warning', 'Failed', `Failed to pull image "${given}": ${text}`, name);
      logger.warn({ image, err: error }, 'cannot pull image');
      const atMs = clock.now();
      backoff.advance(key, atMs);
      for (const [other, failure] of failures) if (atMs - failure.atMs > failureKeptMs) failures.delete(other);
      failures.set(key, { atMs, reason, message: text });
      throw new ImageError(reason, text, recheckMs, { cause: error });
    }
    backoff.reset(key);
    failures.delete(key);
    const arrived = await images.imageStatus({ image, userSpecifiedImage: image }, signal);
    if (arrived === undefined)
      throw new ImageError('ImageInspectError', `image "${given}" was pulled but is not there`);
    const took = `in ${formatDuration(pulled.tookMs)} (${formatDuration(pulled.waitedMs)} including waiting)`;
    const message = `Successfully pulled image "${given}" ${took}. Image size: ${arrived.size} bytes.`;
    record(pod, 'Normal', 'Pulled', message, name);
    return presentImage(arrived);
  };
}
