// The certificates and keys of a cluster in one folder, with the file names that kubeadm users know.
// Calling it again keeps what is there; a leaf near its end or without a wanted name is issued anew.
import { mkdir, readFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { join } from 'node:path';
import { replaceFile } from '#kube/process/replace-file.ts';
import 'reflect-metadata';
import { X509Certificate } from '@peculiar/x509';
import {
  clientAuth,
  createAuthority,
  generateSigningKey,
  issueLeaf,
  type KeyPair,
  type LeafRequest,
  leafLifetimeMs,
  serverAuth,
} from './certificate-authority.ts';

export interface ClusterPkiOptions {
  dir: string;
  /** Names and addresses the API server is reached by, beyond the well-known ones. */
  serverNames: readonly string[];
  nowMs: number;
}

/** Everything the control plane signs, serves and identifies itself with. */
export interface ClusterPki {
  dir: string;
  ca: KeyPair;
  serving: KeyPair;
  /** Identifies the API server to the agents. */
  kubeletClient: KeyPair;
  /** Identifies the API server to aggregated ones, which believe it who a user is: by an authority of its own. */
  frontProxy: { ca: KeyPair; client: KeyPair };
  admin: KeyPair;
  controllerManager: KeyPair;
  scheduler: KeyPair;
  /** EC keys that sign and verify service account tokens. */
  serviceAccount: { privatePem: string; publicPem: string };
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

async function loadPair(dir: string, name: string): Promise<KeyPair | undefined> {
  const [certPem, keyPem] = await Promise.all([
    readIfThere(join(dir, `${name}.crt`)),
    readIfThere(join(dir, `${name}.key`)),
  ]);
  return certPem === undefined || keyPem === undefined ? undefined : { certPem, keyPem };
}

async function savePair(dir: string, name: string, pair: KeyPair): Promise<void> {
  await replaceFile(join(dir, `${name}.key`), pair.keyPem, { mode: 0o600 });
  await replaceFile(join(dir, `${name}.crt`), pair.certPem, { mode: 0o644 });
}

function isUsable(pair: KeyPair, authority: KeyPair, request: LeafRequest, nowMs: number): boolean {
  const certificate = new X509Certificate(pair.certPem);
  if (certificate.notAfter.getTime() - nowMs < leafLifetimeMs / 5) return false;
  if (certificate.issuer !== new X509Certificate(authority.certPem).subject) return false;
  const names = certificate.getExtension('2.5.29.17');
  const held = new Set(names === null ? [] : JSON.stringify(names).match(/"value":"[^"]+"/g));
  return [...(request.dnsNames ?? []), ...(request.ipAddresses ?? [])].every((name) => held.has(`"value":"${name}"`));
}

async function ensureLeaf(
  dir: string,
  file: string,
  authority: KeyPair,
  request: LeafRequest,
  nowMs: number,
): Promise<KeyPair> {
  const existing = await loadPair(dir, file);
  if (existing !== undefined && isUsable(existing, authority, request, nowMs)) return existing;
  const issued = await issueLeaf(authority, request, nowMs);
  await savePair(dir, file, issued);
  return issued;
}

async function ensureSigningKey(dir: string): Promise<{ privatePem: string; publicPem: string }> {
  const [privatePem, publicPem] = await Promise.all([
    readIfThere(join(dir, 'sa.key')),
    readIfThere(join(dir, 'sa.pub')),
  ]);
  if (privatePem !== undefined && publicPem !== undefined) return { privatePem, publicPem };
  const keys = await generateSigningKey();
  await replaceFile(join(dir, 'sa.key'), keys.privatePem, { mode: 0o600 });
  await replaceFile(join(dir, 'sa.pub'), keys.publicPem, { mode: 0o644 });
  return keys;
}

/** Loads or creates the cluster's certificates. Throws when `dir` cannot be written. */
export async function ensureClusterPki(options: ClusterPkiOptions): Promise<ClusterPki> {
  const { dir, nowMs } = options;
  await mkdir(dir, { recursive: true, mode: 0o700 });
  let ca = await loadPair(dir, 'ca');
  if (ca === undefined) {
    ca = await createAuthority('kubernetes', nowMs);
    await savePair(dir, 'ca', ca);
  }
  const authority = ca;
  const frontProxyCa = (await loadPair(dir, 'front-proxy-ca')) ?? (await createAuthority('front-proxy-ca', nowMs));
  await savePair(dir, 'front-proxy-ca', frontProxyCa);
  const wellKnown = [
    'kubernetes',
    'kubernetes.default',
    'kubernetes.default.svc',
    'kubernetes.default.svc.cluster.local',
  ];
  const names = [...new Set([...wellKnown, 'localhost', '127.0.0.1', ...options.serverNames])];
  const leaf = (file: string, request: LeafRequest) => ensureLeaf(dir, file, authority, request, nowMs);
  const client = (file: string, commonName: string, ...organizations: string[]) =>
    leaf(file, { commonName, organizations, usages: [clientAuth] });
  const [serving, kubeletClient, frontProxyClient, admin, controllerManager, scheduler, serviceAccount] =
    await Promise.all([
      leaf('apiserver', {
        commonName: 'kube-apiserver',
        usages: [serverAuth],
        dnsNames: names.filter((name) => isIP(name) === 0),
        ipAddresses: names.filter((name) => isIP(name) !== 0),
      }),
      client('apiserver-kubelet-client', 'kube-apiserver-kubelet-client'),
      ensureLeaf(
        dir,
        'front-proxy-client',
        frontProxyCa,
        { commonName: 'front-proxy-client', usages: [clientAuth] },
        nowMs,
      ),
      client('admin', 'kubernetes-admin', 'system:masters'),
      client('controller-manager', 'system:kube-controller-manager'),
      client('scheduler', 'system:kube-scheduler'),
      ensureSigningKey(dir),
    ]);
  const frontProxy = { ca: frontProxyCa, client: frontProxyClient };
  return { dir, ca, serving, kubeletClient, frontProxy, admin, controllerManager, scheduler, serviceAccount };
}
