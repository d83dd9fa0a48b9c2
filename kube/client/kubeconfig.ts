// Kubeconfig files: reading, merging, and what a context in them means for a client.
import { existsSync, readFileSync } from 'node:fs';
import { dirname, isAbsolute, resolve } from 'node:path';
import { parseYaml } from '../process/parse-yaml.ts';
import { type ClientConfig, ClientConfigError } from './config.ts';
import { createUserCredentials } from './credentials.ts';
import { embeddedOrFile } from './embedded-data.ts';
import { serversOf } from './kubeconfig-servers.ts';
import type { CredentialTools, Kubeconfig } from './kubeconfig-types.ts';

function listOf<T>(value: unknown, path: string, field: string): T[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) throw new ClientConfigError(`${path}: ${field} must be a list`);
  return value as T[];
}

/** Makes the file references of a kubeconfig absolute: they are relative to the file. */
function absolute<T extends object>(entry: T, path: string, fields: readonly (keyof T)[]): T {
  const copy = { ...entry };
  for (const field of fields) {
    const value = copy[field];
    if (typeof value === 'string' && value !== '' && !isAbsolute(value)) {
      Object.assign(copy, { [field]: resolve(dirname(path), value) });
    }
  }
  return copy;
}

/** Reads one file. Throws ClientConfigError naming it. */
export function readKubeconfig(path: string): Kubeconfig {
  let decoded: unknown;
  try {
    decoded = parseYaml(readFileSync(path, 'utf8'));
  } catch (error) {
    throw new ClientConfigError(`cannot read kubeconfig ${path}: ${(error as Error).message}`, { cause: error });
  }
  if (typeof decoded !== 'object' || decoded === null || Array.isArray(decoded)) {
    throw new ClientConfigError(`${path} is not a kubeconfig (kind Config)`);
  }
  const file = decoded as Record<string, unknown>;
  if (file['kind'] !== undefined && file['kind'] !== 'Config') {
    throw new ClientConfigError(`${path} is of kind ${String(file['kind'])}, not Config`);
  }
  const clusters = listOf<Kubeconfig['clusters'][number]>(file['clusters'], path, 'clusters');
  const users = listOf<Kubeconfig['users'][number]>(file['users'], path, 'users');
  const current = file['current-context'];
  return {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: clusters.map(({ name, cluster }) => ({
      name,
      cluster: absolute(cluster, path, ['certificate-authority']),
    })),
    users: users.map(({ name, user }) => ({
      name,
      user: absolute(user ?? {}, path, ['client-certificate', 'client-key', 'tokenFile']),
    })),
    contexts: listOf(file['contexts'], path, 'contexts'),
    ...(typeof current === 'string' && current !== '' ? { 'current-context': current } : {}),
  };
}

/** Reads several files as the KUBECONFIG variable lists them: the first that names something wins. */
export function readKubeconfigs(paths: readonly string[]): Kubeconfig {
  const files = paths.filter((path) => paths.length === 1 || existsSync(path)).map(readKubeconfig);
  const firstNamed = <T extends { name: string }>(entries: T[]): T[] => [
    ...new Map([...entries].reverse().map((entry) => [entry.name, entry])).values(),
  ];
  const current = files.map((file) => file['current-context']).find((name) => name !== undefined);
  return {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: firstNamed(files.flatMap((file) => file.clusters)),
    users: firstNamed(files.flatMap((file) => file.users)),
    contexts: firstNamed(files.flatMap((file) => file.contexts)),
    ...(current === undefined ? {} : { 'current-context': current }),
  };
}

/** The client configuration of a context (the current one where none is named). Throws ClientConfigError. */
export function clientConfigOf(kubeconfig: Kubeconfig, tools: CredentialTools, contextName?: string): ClientConfig {
  const name = contextName ?? kubeconfig['current-context'] ?? soleContext(kubeconfig);
  const context = kubeconfig.contexts.find((entry) => entry.name === name)?.context;
  if (context === undefined) throw new ClientConfigError(`context ${JSON.stringify(name)} is not in the kubeconfig`);
  const cluster = kubeconfig.clusters.find((entry) => entry.name === context.cluster)?.cluster;
  if (cluster === undefined) {
    throw new ClientConfigError(
      `cluster ${JSON.stringify(context.cluster)} of context ${name} is not in the kubeconfig`,
    );
  }
  const user = kubeconfig.users.find((entry) => entry.name === context.user)?.user ?? {};
  return {
    servers: serversOf(cluster),
    caPem: embeddedOrFile(
      cluster['certificate-authority-data'],
      cluster['certificate-authority'],
      'certificate-authority',
    ),
    insecureSkipTlsVerify: cluster['insecure-skip-tls-verify'],
    tlsServerName: cluster['tls-server-name'],
    namespace: context.namespace,
    credentials: createUserCredentials(user, cluster, tools),
  };
}

function soleContext(kubeconfig: Kubeconfig): string {
  const [only, ...others] = kubeconfig.contexts;
  if (only !== undefined && others.length === 0) return only.name;
  throw new ClientConfigError('the kubeconfig has no current-context');
}
