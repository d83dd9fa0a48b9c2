// The records of pulls on disk, below image_manager in the agent's folder: what is being pulled, what was pulled and
// with whose credentials. They outlive the agent, so that a restart opens no image to anybody new.
import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { formatTime } from '#kube/api/time.ts';
import type { Clock } from '#kube/process/clock.ts';
import { replaceFile } from '#kube/process/replace-file.ts';
import type { Image__Output } from '#proto/generated/cri/runtime/v1/Image.ts';
import type { ImageService } from '../../cri/image-service.ts';
import { parseImageReference, repositoryOf } from '../image-reference.ts';
import type { RegistryCredential } from '../pull-credentials.ts';
import {
  decideAccess,
  type PullCredentials,
  type PulledRecord,
  pullCredentialsOf,
  recordVersion,
  withPull,
} from './pull-record.ts';
import type { VerificationPolicy } from './verification-policy.ts';

export interface PullRecordsOptions {
  rootDir: string;
  policy: VerificationPolicy;
  images: Pick<ImageService, 'listImages'>;
  clock: Clock;
  logger: Logger;
  /** Told the result of each check. */
  checked?(result: 'credentialPolicyAllowed' | 'credentialRecordFound' | 'mustAuthenticate' | 'error'): void;
}

export interface PullRecords {
  /**
   * Whether a pod may use an image that is there without a pull; `credentials` is called only where it depends on
   * them.
   */
  mayUse(image: string, imageRef: string, credentials: () => Promise<readonly RegistryCredential[]>): Promise<boolean>;
  /** Before a pull. */
  begin(image: string): Promise<void>;
  /** After one that succeeded with these credentials; undefined: without any. */
  succeeded(image: string, imageRef: string, used: RegistryCredential | undefined): Promise<void>;
  failed(image: string): Promise<void>;
}

const fileMode = 0o600;
const recordName = /^sha256-[0-9a-f]+$/;

function fileName(key: string): string {
  return `sha256-${createHash('sha256').update(key).digest('hex')}`;
}

function repository(image: string): string {
  const reference = parseImageReference(image);
  return reference === undefined ? image : repositoryOf(reference);
}

async function readJson<T>(path: string, kind: string): Promise<T | undefined> {
  const text = await readFile(path, 'utf8').catch(() => undefined);
  if (text === undefined) return undefined;
  const decoded = JSON.parse(text) as { kind?: string };
  if (decoded.kind !== kind) throw new Error(`${path} is not of kind ${kind}`);
  return decoded as T;
}

const writeJson = (path: string, value: object): Promise<void> =>
  replaceFile(path, `${JSON.stringify(value)}\n`, { mode: fileMode });

/** Opens the records that an earlier agent left, and brings them up to date with the images that are there. */
export async function openPullRecords(options: PullRecordsOptions): Promise<PullRecords> {
  const { rootDir, policy, images, clock, logger } = options;
  const pulling = join(rootDir, 'image_manager', 'pulling');
  const pulled = join(rootDir, 'image_manager', 'pulled');
  for (const folder of [pulling, pulled]) await mkdir(folder, { recursive: true, mode: 0o700 });
  const inFlight = new Map<string, number>();
  let lastWrite = Promise.resolve();

  const pulledPath = (imageRef: string) => join(pulled, fileName(imageRef));
  const pullingPath = (image: string) => join(pulling, fileName(image));

  async function readPulled(imageRef: string): Promise<PulledRecord | undefined> {
    const record = await readJson<PulledRecord>(pulledPath(imageRef), 'ImagePulledRecord');
    return record?.imageRef === imageRef ? record : undefined;
  }

  /** One after the other: each reads what the one before wrote. */
  function write(image: string, imageRef: string, credentials: PullCredentials | undefined): Promise<void> {
    const one = lastWrite.then(async () => {
      const before = await readPulled(imageRef).catch(() => undefined);
      const record = withPull(before, imageRef, repository(image), credentials, formatTime(clock.now()));
      await writeJson(pulledPath(imageRef), record);
    });
    lastWrite = one.catch((error: unknown) => logger.warn({ err: error, image }, 'cannot record a pull'));
    return lastWrite;
  }

  async function finish(image: string): Promise<void> {
    const left = (inFlight.get(image) ?? 1) - 1;
    if (left > 0) inFlight.set(image, left);
    else {
      inFlight.delete(image);
      await rm(pullingPath(image), { force: true });
    }
  }

  const recordsIn = async (folder: string): Promise<string[]> =>
    (await readdir(folder)).filter((name) => recordName.test(name)).map((name) => join(folder, name));

  /** Pulls whose end nobody saw become records that no credentials are known of. */
  async function adopt(present: readonly Image__Output[]): Promise<void> {
    for (const path of await recordsIn(pulling)) {
      const image = (await readJson<{ image?: string }>(path, 'ImagePullIntent'))?.image ?? '';
      const found = present.find(({ repoTags, repoDigests }) => [...repoTags, ...repoDigests].includes(image));
      if (found !== undefined) await write(image, found.id, undefined);
      await rm(path, { force: true });
    }
  }

  /** Images that are gone have to be pulled again by whoever wants them. */
  async function prune(present: readonly Image__Output[]): Promise<void> {
    const files = new Set(present.map(({ id }) => pulledPath(id)));
    for (const path of await recordsIn(pulled)) if (!files.has(path)) await rm(path, { force: true });
  }

  async function takeOver(): Promise<void> {
    if ([...(await recordsIn(pulling)), ...(await recordsIn(pulled))].length === 0) return;
    const present = await images.listImages();
    await adopt(present);
    await prune(present);
  }
  await takeOver().catch((error: unknown) => logger.warn({ err: error }, 'cannot take over the records of pulls'));

  return {
    async mayUse(image, imageRef, credentials) {
      let record: PulledRecord | undefined;
      try {
        record = await readPulled(imageRef);
      } catch (error) {
        // Whose the image is cannot be told: then nobody may have it without the registry's word.
        logger.warn({ err: error, image }, 'cannot read the record of a pull');
        options.checked?.('error');
        return false;
      }
      if (!policy(image, record !== undefined || inFlight.has(image))) {
        options.checked?.('credentialPolicyAllowed');
        return true;
      }
      if (record === undefined) {
        options.checked?.('mustAuthenticate');
        return false;
      }
      const { allowed, renew } = decideAccess(record, repository(image), await credentials());
      if (renew !== undefined) await write(image, imageRef, renew);
      options.checked?.(allowed ? 'credentialRecordFound' : 'mustAuthenticate');
      return allowed;
    },
    async begin(image) {
      inFlight.set(image, (inFlight.get(image) ?? 0) + 1);
      await writeJson(pullingPath(image), { kind: 'ImagePullIntent', apiVersion: recordVersion, image });
    },
    async succeeded(image, imageRef, used) {
      await write(image, imageRef, pullCredentialsOf(used));
      await finish(image);
    },
    failed: finish,
  };
}
