// Registry credentials from docker configuration files and pull secrets, and the choice among them for an image.
import type { Secret } from '#kube/api/generated/core-v1.ts';
import type { AuthConfig } from '#proto/generated/cri/runtime/v1/AuthConfig.ts';
import type { ImageReference } from './image-reference.ts';

/** Credentials for images whose name begins with `prefix`. */
export interface RegistryCredential {
  prefix: string;
  auth: AuthConfig;
}

function decodeAuth(entry: Record<string, unknown>): AuthConfig {
  const text = (name: string) => (typeof entry[name] === 'string' ? entry[name] : '');
  let username = text('username');
  let password = text('password');
  const encoded = text('auth');
  if (encoded !== '') {
    const [user = '', ...rest] = Buffer.from(encoded, 'base64').toString('utf8').replace(/\0+$/, '').split(':');
    username = user;
    password = rest.join(':');
  }
  return { username, password, identityToken: text('identitytoken'), registryToken: text('registrytoken') };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Reads the text of a docker configuration; one that cannot be read gives nothing. */
export function parseDockerConfig(text: string, legacy: boolean): RegistryCredential[] {
  let decoded: unknown;
  try {
    decoded = JSON.parse(text);
  } catch {
    // As kubelet does: a damaged secret must not keep images from being pulled without it.
    return [];
  }
  const entries = legacy ? decoded : isRecord(decoded) ? decoded['auths'] : undefined;
  if (!isRecord(entries)) return [];
  return Object.entries(entries).flatMap(([server, entry]) => {
    if (!isRecord(entry)) return [];
    const prefix = server
      .replace(/^https?:\/\//, '')
      .replace(/\/(v1|v2)\/?$/, '')
      .replace(/\/$/, '');
    return [{ prefix: prefix === 'index.docker.io' ? 'docker.io' : prefix, auth: decodeAuth(entry) }];
  });
}

/** Credentials in a pull secret. */
export function credentialsOfSecret(secret: Secret): RegistryCredential[] {
  const decode = (key: string) => Buffer.from(secret.data?.[key] ?? '', 'base64').toString('utf8');
  if (secret.data?.['.dockerconfigjson'] !== undefined) return parseDockerConfig(decode('.dockerconfigjson'), false);
  if (secret.data?.['.dockercfg'] !== undefined) return parseDockerConfig(decode('.dockercfg'), true);
  return [];
}

function hostMatches(pattern: string, host: string): boolean {
  if (!pattern.includes('*')) return pattern === host;
  const parts = pattern.split('.');
  const actual = host.split('.');
  return parts.length === actual.length && parts.every((part, index) => part === '*' || part === actual[index]);
}

/** Credentials that fit, the most specific first; an empty list means to pull without any. */
export function selectCredentials(image: ImageReference, credentials: readonly RegistryCredential[]): AuthConfig[] {
  const fitting = credentials.filter(({ prefix }) => {
    const [host = '', ...path] = prefix.split('/');
    if (!hostMatches(host, image.host)) return false;
    return path.length === 0 || image.path === path.join('/') || image.path.startsWith(`${path.join('/')}/`);
  });
  return fitting.sort((a, b) => b.prefix.length - a.prefix.length).map(({ auth }) => auth);
}
