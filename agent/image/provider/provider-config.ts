// The configuration of credential provider plugins: CredentialProviderConfig, from one file or a folder of them.
// Rules as kubelet's (pkg/credentialprovider/plugin/config.go); everything wrong is told before the agent starts.
import { accessSync, constants, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { parseDurationMs, UsageError } from '#kube/process/flags.ts';
import { parseYaml } from '#kube/process/parse-yaml.ts';

/** What a provider gets of the pod's service account. */
export interface TokenAttributes {
  audience: string;
  /** Whether tokens make the credentials, or the account does: what cached ones are kept for. */
  cacheType: 'Token' | 'ServiceAccount';
  requireServiceAccount: boolean;
  requiredAnnotations: string[];
  optionalAnnotations: string[];
}

export interface CredentialProviderSettings {
  name: string;
  /** The program, below the folder of providers. */
  path: string;
  apiVersion: string;
  matchImages: string[];
  defaultCacheMs: number;
  args: string[];
  env: Record<string, string>;
  tokens: TokenAttributes | undefined;
}

type Fields = Record<string, unknown>;

const configVersions = ['v1', 'v1beta1', 'v1alpha1'].map((version) => `kubelet.config.k8s.io/${version}`);
const protocolVersions = ['v1', 'v1beta1', 'v1alpha1'].map((version) => `credentialprovider.kubelet.k8s.io/${version}`);
const fieldNames = ['name', 'matchImages', 'defaultCacheDuration', 'apiVersion', 'args', 'env', 'tokenAttributes'];

function isRecord(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function texts(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((item) => typeof item === 'string') : [];
}

function tokenAttributes(fail: (why: string) => never, value: unknown): TokenAttributes | undefined {
  if (value === undefined || value === null) return undefined;
  if (!isRecord(value)) return fail('tokenAttributes is a structure');
  const { serviceAccountTokenAudience: audience, requireServiceAccount, cacheType } = value;
  const requiredAnnotations = texts(value['requiredServiceAccountAnnotationKeys']);
  const optionalAnnotations = texts(value['optionalServiceAccountAnnotationKeys']);
  if (typeof audience !== 'string' || audience === '') fail('tokenAttributes.serviceAccountTokenAudience is required');
  if (typeof requireServiceAccount !== 'boolean') fail('tokenAttributes.requireServiceAccount is required');
  if (cacheType !== 'Token' && cacheType !== 'ServiceAccount') {
    fail('tokenAttributes.cacheType takes Token or ServiceAccount');
  }
  if (requireServiceAccount === false && requiredAnnotations.length > 0) {
    fail('requiredServiceAccountAnnotationKeys needs requireServiceAccount');
  }
  if (requiredAnnotations.some((key) => optionalAnnotations.includes(key))) {
    fail('a service account annotation is either required or optional');
  }
  return {
    audience: String(audience),
    cacheType: cacheType === 'Token' ? 'Token' : 'ServiceAccount',
    requireServiceAccount: requireServiceAccount === true,
    requiredAnnotations,
    optionalAnnotations,
  };
}

function cacheMs(fail: (why: string) => never, value: unknown): number {
  if (typeof value !== 'string') return fail('defaultCacheDuration is required');
  const durationMs = parseDurationMs(value);
  return durationMs < 0 ? fail('defaultCacheDuration is not negative') : durationMs;
}

function environment(value: unknown): Record<string, string> {
  const entries = Array.isArray(value) ? value.filter(isRecord) : [];
  return Object.fromEntries(entries.map(({ name, value: text }) => [String(name), String(text ?? '')]));
}

function decodeProvider(file: string, value: unknown, binDir: string): CredentialProviderSettings {
  const entry = isRecord(value) ? value : {};
  const name = String(entry['name'] ?? '');
  const fail = (why: string): never => {
    throw new UsageError(`${file}: credential provider ${JSON.stringify(name)}: ${why}`);
  };
  // The name becomes a path: it must stay inside the folder of providers.
  if (name === '' || name === '.' || name === '..' || /[/\\\s]/.test(name)) {
    fail('name is required, and has neither slashes nor spaces');
  }
  const unknown = Object.keys(entry).find((key) => !fieldNames.includes(key));
  if (unknown !== undefined) fail(`unknown field ${unknown}; allowed here: ${fieldNames.join(', ')}`);
  const apiVersion = String(entry['apiVersion'] ?? '');
  if (!protocolVersions.includes(apiVersion)) fail(`apiVersion takes ${protocolVersions.join(', ')}`);
  const matchImages = texts(entry['matchImages']);
  if (matchImages.length === 0) fail('matchImages is required');
  const path = join(binDir, name);
  try {
    accessSync(path, constants.X_OK);
  } catch {
    fail(`there is no program ${path}`);
  }
  const tokens = tokenAttributes(fail, entry['tokenAttributes']);
  if (tokens !== undefined && apiVersion !== protocolVersions[0]) fail(`tokenAttributes needs ${protocolVersions[0]}`);
  const defaultCacheMs = cacheMs(fail, entry['defaultCacheDuration']);
  const env = environment(entry['env']);
  return { name, path, apiVersion, matchImages, defaultCacheMs, args: texts(entry['args']), env, tokens };
}

function configFiles(path: string): string[] {
  if (!statSync(path).isDirectory()) return [path];
  const names = readdirSync(path).filter((name) => /\.(json|yaml|yml)$/.test(name));
  return names.sort().map((name) => join(path, name));
}

/** Reads the configuration. Throws UsageError. */
export function loadProviders(path: string, binDir: string): CredentialProviderSettings[] {
  let files: string[];
  try {
    files = configFiles(path);
    statSync(binDir);
  } catch (error) {
    throw new UsageError(`cannot read the image credential providers: ${(error as Error).message}`, { cause: error });
  }
  const providers = files.flatMap((file) => {
    const config = parseYaml(readFileSync(file, 'utf8'));
    const isKnown = isRecord(config) && configVersions.includes(String(config['apiVersion']));
    if (!isKnown || config['kind'] !== 'CredentialProviderConfig') {
      throw new UsageError(`${file} is not a CredentialProviderConfig of ${configVersions[0]}`);
    }
    const entries = config['providers'];
    if (!Array.isArray(entries) || entries.length === 0) throw new UsageError(`${file}: providers is required`);
    return entries.map((entry) => decodeProvider(file, entry, binDir));
  });
  const twice = providers.find(({ name }, index) => providers.findIndex((each) => each.name === name) < index);
  if (twice !== undefined) throw new UsageError(`credential provider ${twice.name} is configured twice`);
  return providers;
}
