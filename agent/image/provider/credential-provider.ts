// A credential provider plugin with its cache: asked for the images it is meant for, once at a time for the same
// image and account (pkg/credentialprovider/plugin/plugin.go).
import { createHash } from 'node:crypto';
import type { Logger } from 'pino';
import type { Pod } from '#kube/api/generated/core-v1.ts';
import type { Clock } from '#kube/process/clock.ts';
import type { Exec } from '#kube/process/exec.ts';
import { type ImageReference, parseImageReference } from '../image-reference.ts';
import {
  type CredentialOrigin,
  credentialsByPattern,
  matchesPattern,
  type RegistryCredential,
} from '../pull-credentials.ts';
import type { CredentialProviderSettings, TokenAttributes } from './provider-config.ts';
import { type ProviderRequest, runProvider } from './run-provider.ts';

/** What is asked of the API for providers that work with service accounts. */
export interface ServiceAccounts {
  get(namespace: string, name: string): Promise<{ uid: string; annotations: Record<string, string> }>;
  token(pod: Pod, audience: string): Promise<string>;
}

export interface CredentialProviderOptions {
  exec: Exec;
  clock: Clock;
  logger: Logger;
  serviceAccounts: ServiceAccounts;
}

/** Credentials for an image that a pod wants; none where the provider is not for the image, or fails. */
export type CredentialProvider = (pod: Pod, image: string) => Promise<RegistryCredential[]>;

interface AccountPart {
  request: Omit<ProviderRequest, 'image'>;
  /** What cached credentials are kept for. */
  cacheKey: string;
  origin: CredentialOrigin;
}

interface Cached {
  untilMs: number;
  credentials: RegistryCredential[];
}

function isFor(settings: CredentialProviderSettings, reference: ImageReference): boolean {
  return settings.matchImages.some((pattern) => matchesPattern(pattern.replace(/^https?:\/\//, ''), reference));
}

/** The request's part about the pod's account; undefined when the provider is not to be asked. */
async function accountPart(
  accounts: ServiceAccounts,
  tokens: TokenAttributes,
  pod: Pod,
): Promise<AccountPart | undefined> {
  const { serviceAccountName: name = '' } = pod.spec;
  const { namespace = '' } = pod.metadata;
  if (name === '') {
    return tokens.requireServiceAccount ? undefined : { request: {}, cacheKey: '', origin: { type: 'node' } };
  }
  const { uid, annotations } = await accounts.get(namespace, name);
  if (tokens.requiredAnnotations.some((key) => annotations[key] === undefined)) return undefined;
  const wanted = [...tokens.requiredAnnotations, ...tokens.optionalAnnotations].sort();
  const told = wanted.flatMap((key) => (annotations[key] === undefined ? [] : [[key, annotations[key]] as const]));
  const token = await accounts.token(pod, tokens.audience);
  const hash = tokens.cacheType === 'Token' ? createHash('sha256').update(token).digest('hex') : '';
  return {
    request: { serviceAccountToken: token, serviceAccountAnnotations: Object.fromEntries(told) },
    cacheKey: JSON.stringify([namespace, name, uid, told, hash]),
    origin: { type: 'serviceAccount', uid, namespace, name },
  };
}

/** Creates the provider; nothing runs before it is asked. */
export function createCredentialProvider(
  settings: CredentialProviderSettings,
  { exec, clock, logger, serviceAccounts }: CredentialProviderOptions,
): CredentialProvider {
  const cache = new Map<string, Cached>();
  const running = new Map<string, Promise<RegistryCredential[]>>();

  function cached(keys: readonly string[]): RegistryCredential[] | undefined {
    for (const [key, { untilMs }] of cache) if (untilMs < clock.now()) cache.delete(key);
    return keys.map((key) => cache.get(key)).find((entry) => entry !== undefined)?.credentials;
  }

  async function ask(image: string, account: AccountPart, keys: Record<'Image' | 'Registry' | 'Global', string>) {
    const { cacheKeyType, cacheMs, auth } = await runProvider(exec, settings, { image, ...account.request });
    const credentials = credentialsByPattern(auth, account.origin);
    const durationMs = cacheMs ?? settings.defaultCacheMs;
    if (durationMs > 0) cache.set(keys[cacheKeyType], { untilMs: clock.now() + durationMs, credentials });
    return credentials;
  }

  return async (pod, image) => {
    const reference = parseImageReference(image);
    if (reference === undefined || !isFor(settings, reference)) return [];
    try {
      const { tokens } = settings;
      const account: AccountPart | undefined =
        tokens === undefined
          ? { request: {}, cacheKey: '', origin: { type: 'node' } }
          : await accountPart(serviceAccounts, tokens, pod);
      if (account === undefined) return [];
      const key = (part: string) => JSON.stringify([part, account.cacheKey]);
      const [registry = ''] = image.split('/');
      const keys = { Image: key(image), Registry: key(registry), Global: key('global') };
      const known = cached(Object.values(keys));
      if (known !== undefined) return known;
      const flight = JSON.stringify([image, account.request]);
      const asked = running.get(flight) ?? ask(image, account, keys).finally(() => running.delete(flight));
      running.set(flight, asked);
      return await asked;
    } catch (error) {
      logger.warn({ err: error, image, provider: settings.name }, 'a credential provider gave nothing');
      return [];
    }
  };
}
