// Registry credentials from docker configuration files and pull secrets, and the choice among them for an image.
// Matching as kubelet does it (pkg/credentialprovider/keyring.go).
import { createHash } from 'node:crypto';
import type { Secret } from '#kube/api/generated/core-v1.ts';
import type { AuthConfig } from '#proto/generated/cri/runtime/v1/AuthConfig.ts';
import type { ImageReference } from './image-reference.ts';

/** An object that opened an image: pods that can show the same may use the image without asking the registry. */
export interface ObjectCoordinates {
  uid: string;
  namespace: string;
  name: string;
}

/** Where credentials come from. Those of the node are every pod's. */
export type CredentialOrigin =
  | { type: 'node' }
  | ({ type: 'secret' } & ObjectCoordinates)
  | ({ type: 'serviceAccount' } & ObjectCoordinates);

/** Credentials for images that match `pattern`: a host, perhaps with wildcards and a port, and the start of a path. */
export interface RegistryCredential {
  pattern: string;
  auth: AuthConfig;
  origin: CredentialOrigin;
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

/** The key of a docker configuration as a pattern: without scheme and API version; the old name of the default registry. */
function patternOf(server: string): string {
  const pattern = server
    .replace(/^https?:\/\//, '')
    .replace(/^([^/]*)\/v[12](\/|$)/, '$1/')
    .replace(/\/$/, '');
  return pattern.replace(/^index\.docker\.io(?=\/|$)/, 'docker.io');
}

/** Credentials by pattern, as docker configurations and credential providers have them. */
export function credentialsByPattern(
  entries: Readonly<Record<string, unknown>>,
  origin: CredentialOrigin,
): RegistryCredential[] {
  return Object.entries(entries).flatMap(([server, entry]) =>
    isRecord(entry) ? [{ pattern: patternOf(server), auth: decodeAuth(entry), origin }] : [],
  );
}

/** Reads the text of a docker configuration; one that cannot be read gives nothing. */
export function parseDockerConfig(
  text: string,
  legacy: boolean,
  origin: CredentialOrigin = { type: 'node' },
): RegistryCredential[] {
  let decoded: unknown;
  try {
    decoded = JSON.parse(text);
  } catch {
    // As kubelet does: a damaged secret must not keep images from being pulled without it.
    return [];
  }
  const entries = legacy ? decoded : isRecord(decoded) ? decoded['auths'] : undefined;
  return isRecord(entries) ? credentialsByPattern(entries, origin) : [];
}

/** Credentials in a pull secret. */
export function credentialsOfSecret(secret: Secret): RegistryCredential[] {
  const decode = (key: string) => Buffer.from(secret.data?.[key] ?? '', 'base64').toString('utf8');
  const { uid = '', namespace = '', name } = secret.metadata;
  const origin: CredentialOrigin = { type: 'secret', uid, namespace, name };
  if (secret.data?.['.dockerconfigjson'] !== undefined) {
    return parseDockerConfig(decode('.dockerconfigjson'), false, origin);
  }
  return secret.data?.['.dockercfg'] === undefined ? [] : parseDockerConfig(decode('.dockercfg'), true, origin);
}

/** Whether one label of a host matches: `*` stands for any part of it. In one pass: both come from users. */
function labelMatches(pattern: string, label: string): boolean {
  const [start = '', ...others] = pattern.split('*');
  const end = others.pop();
  if (end === undefined) return pattern === label;
  if (!label.startsWith(start) || !label.endsWith(end) || label.length < start.length + end.length) return false;
  let at = start.length;
  for (const part of others) {
    const found = label.indexOf(part, at);
    if (found < 0) return false;
    at = found + part.length;
  }
  return at + end.length <= label.length;
}

/** Whether an image is one of `pattern`'s: as many labels in the host, the same port, the path's beginning. */
export function matchesPattern(pattern: string, image: Pick<ImageReference, 'host' | 'path'>): boolean {
  const [host = '', ...path] = pattern.split('/');
  const [name = '', port = ''] = host.split(':');
  const [imageName = '', imagePort = ''] = image.host.split(':');
  const labels = name.split('.');
  const imageLabels = imageName.split('.');
  if (port !== imagePort || labels.length !== imageLabels.length) return false;
  if (!labels.every((label, index) => labelMatches(label, imageLabels[index] ?? ''))) return false;
  return image.path.startsWith(path.join('/'));
}

/** The order in which kubelet tries patterns: the later in the alphabet first, which puts longer paths first. */
function later(a: RegistryCredential, b: RegistryCredential): number {
  return a.pattern < b.pattern ? 1 : a.pattern > b.pattern ? -1 : 0;
}

/**
 * Credentials that fit, in the order to try them: those of pods' own objects before those of the node. An empty list
 * means to pull without any.
 */
export function selectCredentials(
  image: ImageReference,
  credentials: readonly RegistryCredential[],
): RegistryCredential[] {
  const fitting = credentials.filter(({ pattern }) => matchesPattern(pattern, image));
  const isOfSecret = ({ origin }: RegistryCredential) => origin.type === 'secret';
  return [
    ...fitting.filter(isOfSecret).sort(later),
    ...fitting.filter((credential) => !isOfSecret(credential)).sort(later),
  ];
}

/** Tells credentials apart without revealing them. */
export function credentialHash({ username, password, identityToken, registryToken }: AuthConfig): string {
  const given = Object.entries({ username, password, identityToken, registryToken }).filter(
    ([, value]) => (value ?? '') !== '',
  );
  return createHash('sha256')
    .update(JSON.stringify(Object.fromEntries(given)))
    .digest('hex');
}
