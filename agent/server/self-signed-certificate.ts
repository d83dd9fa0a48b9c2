// A certificate signed by its own key. Imported only where one has to be made: the X.509 library is large.
import 'reflect-metadata';
import { webcrypto } from 'node:crypto';
import * as x509 from '@peculiar/x509';
import type { ServingCertificate } from './serving-certificate.ts';

const lifetimeMs = 365 * 24 * 3600 * 1000;
const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };

/** Makes a serving certificate for the host and its addresses, valid for a year. */
export async function createSelfSigned(
  hostname: string,
  ips: readonly string[],
  nowMs: number,
): Promise<ServingCertificate> {
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
