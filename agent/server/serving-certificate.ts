// The certificate the server shows: configured files, or one signed by itself and kept in the certificate directory.
import { X509Certificate } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ServerSettings } from '../config/settings.ts';

const renewBeforeMs = 30 * 24 * 3600 * 1000;

/** Certificate chain and key, PEM. */
export interface ServingCertificate {
  cert: string;
  key: string;
}

function isCurrent(cert: string, ips: readonly string[], nowMs: number): boolean {
  try {
    const parsed = new X509Certificate(cert);
    return Date.parse(parsed.validTo) - nowMs > renewBeforeMs && ips.every((ip) => parsed.checkIP(ip) !== undefined);
  } catch {
    // Not a certificate: a new one takes its place.
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
  const { createSelfSigned } = await import('./self-signed-certificate.ts');
  const made = await createSelfSigned(hostname, ips, nowMs);
  await mkdir(settings.certDir, { recursive: true, mode: 0o700 });
  await writeFile(keyPath, made.key, { mode: 0o600 });
  await writeFile(certPath, made.cert, { mode: 0o644 });
  return made;
}
