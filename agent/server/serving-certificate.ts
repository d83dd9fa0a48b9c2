// The certificate the server shows: configured files, or one signed by itself and kept in the certificate directory.
import { webcrypto } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as x509 from '@peculiar/x509';
import type { ServerSettings } from '../config/settings.ts';

const lifetimeMs = 365 * 24 * 3600 * 1000;
const renewBeforeMs = 30 * 24 * 3600 * 1000;
const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };

/** Certificate chain and key, PEM. */
export interface ServingCertificate {
  cert: string;
  key: string;
}

async function selfSigned(hostname: string, ips: readonly string[], nowMs: number): Promise<ServingCertificate> {
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const names = [{ type: 'dns' as const, value: hostname }, ...ips.map((ip) => ({ type: 'ip' as const, value: ip }))];
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    name: `CN=${hostname}@${Math.floor(nowMs / 1000)}`,
    notBefore: new Date(nowMs - 3600_000),
    notAfter: new Date(nowMs + lifetimeMs),
    signingAlgorithm: algorithm,
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
      new x509.SubjectAlternativeNameExtension(names),
    ],
  });
  const pkcs8 = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey)).toString('base64');
  const body = pkcs8.match(/.{1,64}/g)?.join('\n') ?? '';
  return {
    cert: `${certificate.toString('pem')}\n`,
    key: `-----BEGIN PRIVATE KEY-----\n${body}\n-----END PRIVATE KEY-----\n`,
  };
}

function isCurrent(cert: string, ips: readonly string[], nowMs: number): boolean {
  try {
    const parsed = new x509.X509Certificate(cert);
    const alternatives = parsed.getExtension(x509.SubjectAlternativeNameExtension)?.names.items ?? [];
    const has = (ip: string) => alternatives.some((name) => name.type === 'ip' && name.value === ip);
    return parsed.notAfter.getTime() - nowMs > renewBeforeMs && ips.every(has);
  } catch {
    return false;
  }
}

/** Loads the certificate, making one where none is configured. */
export async function loadServingCertificate(
  settings: ServerSettings,
  hostname: string,
  ips: readonly string[],
  nowMs: number,
): Promise<ServingCertificate> {
  if (settings.certFile !== undefined && settings.keyFile !== undefined) {
    return { cert: await readFile(settings.certFile, 'utf8'), key: await readFile(settings.keyFile, 'utf8') };
  }
  const certPath = join(settings.certDir, 'kubelet.crt');
  const keyPath = join(settings.certDir, 'kubelet.key');
  const [cert, key] = await Promise.all([certPath, keyPath].map((path) => readFile(path, 'utf8').catch(() => '')));
  if (cert !== undefined && key !== undefined && key !== '' && isCurrent(cert, ips, nowMs)) return { cert, key };
  const made = await selfSigned(hostname, ips, nowMs);
  await mkdir(settings.certDir, { recursive: true, mode: 0o700 });
  await writeFile(keyPath, made.key, { mode: 0o600 });
  await writeFile(certPath, made.cert, { mode: 0o644 });
  return made;
}
