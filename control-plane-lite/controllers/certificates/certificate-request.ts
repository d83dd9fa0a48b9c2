// Reads PKCS#10 certificate requests and signs them with the cluster's authority.
import 'reflect-metadata';
import { webcrypto } from 'node:crypto';
import * as x509 from '@peculiar/x509';
import type { RequestFacts } from './signer-rules.ts';

const authorityAlgorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
const backdateMs = 300_000;

const usageObjectIds: Record<string, string> = {
  'server auth': '1.3.6.1.5.5.7.3.1',
  'client auth': '1.3.6.1.5.5.7.3.2',
};

/** A request that was read and whose signature is right. */
export interface CertificateRequest {
  facts: RequestFacts;
  request: x509.Pkcs10CertificateRequest;
}

function namesOf(request: x509.Pkcs10CertificateRequest, type: x509.GeneralNameType): string[] {
  return Array.from(request.extensions)
    .filter((extension) => extension instanceof x509.SubjectAlternativeNameExtension)
    .flatMap(({ names }) => names.items)
    .filter((name) => name.type === type)
    .map(({ value }) => value);
}

/** Decodes `spec.request` (base64 of PEM). Throws an Error that says what is wrong with it. */
export async function readCertificateRequest(encoded: string): Promise<CertificateRequest> {
  const pem = Buffer.from(encoded, 'base64').toString('utf8');
  if (!pem.includes('CERTIFICATE REQUEST')) throw new Error('PEM block type must be CERTIFICATE REQUEST');
  const request = new x509.Pkcs10CertificateRequest(pem);
  if (!(await request.verify())) throw new Error('the signature of the request does not fit its key');
  return {
    request,
    facts: {
      commonName: request.subjectName.getField('CN')[0] ?? '',
      organizations: request.subjectName.getField('O'),
      dnsNames: namesOf(request, 'dns'),
      ipAddresses: namesOf(request, 'ip'),
      emailAddresses: namesOf(request, 'email'),
      uris: namesOf(request, 'url'),
    },
  };
}

/** Signs a request as it is, for the usages given, and returns the certificate as PEM. */
export async function signCertificateRequest(
  authority: { certPem: string; keyPem: string },
  { request, facts }: CertificateRequest,
  usages: readonly string[],
  validity: { fromMs: number; lifetimeMs: number },
): Promise<string> {
  const issuer = new x509.X509Certificate(authority.certPem);
  const [keyDer] = x509.PemConverter.decode(authority.keyPem);
  if (keyDer === undefined) throw new Error('the private key of the certificate authority is not PEM');
  const signingKey = await webcrypto.subtle.importKey('pkcs8', keyDer, authorityAlgorithm, false, ['sign']);
  const serial = webcrypto.getRandomValues(new Uint8Array(16));
  serial[0] = (serial[0] ?? 0) & 0x7f;
  const keyUsage =
    (usages.includes('digital signature') ? x509.KeyUsageFlags.digitalSignature : 0) |
    (usages.includes('key encipherment') ? x509.KeyUsageFlags.keyEncipherment : 0);
  const extended = usages.flatMap((usage) => usageObjectIds[usage] ?? []);
  const names: x509.JsonGeneralName[] = [
    ...facts.dnsNames.map((value) => ({ type: 'dns' as const, value })),
    ...facts.ipAddresses.map((value) => ({ type: 'ip' as const, value })),
    ...facts.emailAddresses.map((value) => ({ type: 'email' as const, value })),
    ...facts.uris.map((value) => ({ type: 'url' as const, value })),
  ];
  const endMs = Math.min(validity.fromMs + validity.lifetimeMs, issuer.notAfter.getTime());
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: Buffer.from(serial).toString('hex'),
    subject: request.subjectName,
    issuer: issuer.subjectName,
    notBefore: new Date(validity.fromMs - backdateMs),
    notAfter: new Date(endMs),
    signingAlgorithm: authorityAlgorithm,
    publicKey: await request.publicKey.export(),
    signingKey,
    extensions: [
      ...(keyUsage === 0 ? [] : [new x509.KeyUsagesExtension(keyUsage, true)]),
      ...(extended.length === 0 ? [] : [new x509.ExtendedKeyUsageExtension(extended, false)]),
      new x509.BasicConstraintsExtension(false, undefined, true),
      await x509.AuthorityKeyIdentifierExtension.create(issuer.publicKey),
      ...(names.length === 0 ? [] : [new x509.SubjectAlternativeNameExtension(names)]),
    ],
  });
  return `${certificate.toString('pem')}\n`;
}
