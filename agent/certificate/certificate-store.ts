// Certificates and keys as kubelet keeps them: `PREFIX-2026-01-02-03-04-05.pem` with both in one file, and
// `PREFIX-current.pem`, a link to the newest (k8s.io/client-go/util/certificate: fileStore).
import { X509Certificate } from 'node:crypto';
import { mkdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Validity } from './plan-rotation.ts';

/** A certificate chain with its private key. */
export interface CertificatePair extends Validity {
  certPem: string;
  keyPem: string;
  /** Of the first certificate, for example `O=system:nodes\nCN=system:node:a`. */
  subject: string;
}

export interface CertificateStore {
  /** The file that always has the newest pair. */
  readonly currentPath: string;
  /** Undefined when there is none, or none that can be read. */
  load(): Promise<CertificatePair | undefined>;
  /** Keeps a new pair; earlier files stay. */
  save(certPem: string, keyPem: string, nowMs: number): Promise<CertificatePair>;
}

const blockPattern = /-----BEGIN ([A-Z ]+)-----[\s\S]+?-----END \1-----/g;

/** Reads a pair from a file with certificates and a key. Throws when one is missing. */
export function parsePair(pem: string): CertificatePair {
  const blocks = [...pem.matchAll(blockPattern)];
  const ofKind = (suffix: string) =>
    blocks.filter(([, kind = '']) => kind.endsWith(suffix)).map(([text]) => `${text}\n`);
  const certificates = ofKind('CERTIFICATE');
  const [key] = ofKind('PRIVATE KEY');
  const [first] = certificates;
  if (first === undefined || key === undefined) throw new Error('a certificate and its private key are needed');
  const { validFrom, validTo, subject } = new X509Certificate(first);
  return {
    certPem: certificates.join(''),
    keyPem: key,
    notBeforeMs: Date.parse(validFrom),
    notAfterMs: Date.parse(validTo),
    subject,
  };
}

/** The time in a file's name, in UTC. */
function stamp(nowMs: number): string {
  return new Date(nowMs).toISOString().slice(0, 19).replaceAll(/[T:]/g, '-');
}

/** The pairs of a prefix such as kubelet-client in a directory. */
export function createCertificateStore(directory: string, prefix: string): CertificateStore {
  const currentPath = join(directory, `${prefix}-current.pem`);
  return {
    currentPath,
    async load() {
      try {
        return parsePair(await readFile(currentPath, 'utf8'));
      } catch {
        // Missing or damaged: a new one takes its place.
        return undefined;
      }
    },
    async save(certPem, keyPem, nowMs) {
      const pair = parsePair(`${certPem}\n${keyPem}`);
      await mkdir(directory, { recursive: true, mode: 0o700 });
      const path = join(directory, `${prefix}-${stamp(nowMs)}.pem`);
      await writeFile(path, `${pair.certPem}${pair.keyPem}`, { mode: 0o600 });
      const link = `${currentPath}.new`;
      await rm(link, { force: true });
      await symlink(path, link);
      // Whoever reads the link sees the old pair or the new one.
      await rename(link, currentPath);
      return pair;
    },
  };
}
