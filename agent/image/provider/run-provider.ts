// One call of a credential provider plugin: a request in JSON on its standard input, the answer on its output.
// What it answers is secret: it is in no error and in no log.
import type { Exec } from '#kube/process/exec.ts';
import type { CredentialProviderSettings } from './provider-config.ts';

/** What the plugin is asked. */
export interface ProviderRequest {
  image: string;
  serviceAccountToken?: string;
  serviceAccountAnnotations?: Record<string, string>;
}

/** What it answered. */
export interface ProviderResponse {
  cacheKeyType: 'Image' | 'Registry' | 'Global';
  /** Absent: the configuration's default. */
  cacheMs: number | undefined;
  /** User and password by pattern of images. */
  auth: Record<string, { username: string; password: string }>;
}

/** A plugin that failed or answered something else. */
export class CredentialProviderError extends Error {
  readonly code = 'CREDENTIAL_PROVIDER';
}

const timeoutMs = 60_000;

type Fields = Record<string, unknown>;

function isRecord(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** `1h2m3s` in milliseconds; undefined for what is no duration. */
function goDurationMs(text: string): number | undefined {
  if (text === '0') return 0;
  if (!/^(\d+(\.\d+)?(ns|us|µs|ms|s|m|h))+$/.test(text)) return undefined;
  const units: Record<string, number> = { ns: 1e-6, us: 1e-3, µs: 1e-3, ms: 1, s: 1000, m: 60_000, h: 3_600_000 };
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)/g)];
  return parts.reduce((sum, [, value, unit = '']) => sum + Number(value) * (units[unit] ?? 0), 0);
}

/** Throws CredentialProviderError. */
export function decodeResponse(name: string, apiVersion: string, text: string): ProviderResponse {
  const fail = (why: string): never => {
    throw new CredentialProviderError(`credential provider ${name}: ${why}`);
  };
  let decoded: unknown;
  try {
    decoded = JSON.parse(text);
  } catch {
    return fail('its answer is not JSON');
  }
  if (!isRecord(decoded) || decoded['kind'] !== 'CredentialProviderResponse') {
    return fail('its answer is not a CredentialProviderResponse');
  }
  if (decoded['apiVersion'] !== apiVersion) return fail(`its answer is not of version ${apiVersion}`);
  const { cacheKeyType, cacheDuration } = decoded;
  if (cacheKeyType !== 'Image' && cacheKeyType !== 'Registry' && cacheKeyType !== 'Global') {
    return fail('cacheKeyType is none of Image, Registry, Global');
  }
  const hasDuration = cacheDuration !== undefined && cacheDuration !== null;
  const cacheMs = hasDuration ? goDurationMs(String(cacheDuration)) : undefined;
  if (hasDuration && cacheMs === undefined) return fail('cacheDuration is no duration');
  const auth: ProviderResponse['auth'] = {};
  for (const [pattern, entry] of Object.entries(isRecord(decoded['auth']) ? decoded['auth'] : {})) {
    const { username, password } = isRecord(entry) ? entry : {};
    if (typeof username !== 'string' || typeof password !== 'string') {
      return fail('an entry of auth has no username or password');
    }
    auth[pattern] = { username, password };
  }
  return { cacheKeyType, cacheMs, auth };
}

/** Runs the plugin. Throws CredentialProviderError. */
export async function runProvider(
  exec: Exec,
  { name, path, apiVersion, args, env }: CredentialProviderSettings,
  request: ProviderRequest,
): Promise<ProviderResponse> {
  const input = JSON.stringify({ kind: 'CredentialProviderRequest', apiVersion, ...request });
  let result: Awaited<ReturnType<Exec>>;
  try {
    result = await exec(path, args, { input, env, timeoutMs });
  } catch (error) {
    throw new CredentialProviderError(
      `credential provider ${name} for ${request.image} could not run, or not in 60 s`,
      {
        cause: error,
      },
    );
  }
  if (result.exitCode !== 0) {
    const said = result.stderr.trim().slice(0, 500);
    throw new CredentialProviderError(
      `credential provider ${name} for ${request.image} ended with ${result.exitCode}: ${said}`,
    );
  }
  return decodeResponse(name, apiVersion, result.stdout);
}
