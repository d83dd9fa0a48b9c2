// A certificate authority held as PEM, and the signing of leaf certificates with it. Every cluster key is ECDSA P-256.
import 'reflect-metadata';
import { webcrypto } from 'node:crypto';
import * as x509 from '@peculiar/x509';

/** A certificate and its private key (PKCS#8), both PEM. */
export interface KeyPair {
  certPem: string;
  keyPem: string;
}

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
const dayMs = 86_400_000;
export const leafLifetimeMs = 365 * dayMs;
export const authorityLifetimeMs = 3650 * dayMs;

export const serverAuth = '1.3.6.1.5.5.7.3.1';
export const clientAuth = '1.3.6.1.5.5.7.3.2';

async function generateKeys(): Promise<webcrypto.CryptoKeyPair> {
  return await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
}

/** The private key as PKCS#8 PEM. */
export async function exportPrivateKey(key: webcrypto.CryptoKey): Promise<string> {
  return x509.PemConverter.encode(await webcrypto.subtle.exportKey('pkcs8', key), 'PRIVATE KEY');
}

async function importPrivateKey(pem: string): Promise<webcrypto.CryptoKey> {
  const [der] = x509.PemConverter.decode(pem);
  if (der === undefined) throw new Error('the private key of the certificate authority is not PEM');
  return await webcrypto.subtle.importKey('pkcs8', der, algorithm, true, ['sign']);
}

function serialNumber(): string {
  const bytes = webcrypto.getRandomValues(new Uint8Array(8));
  bytes[0] = (bytes[0] ?? 0) & 0x7f;
  return Buffer.from(bytes).toString('hex');
}

/** A fresh EC key pair for signing service account tokens: private PKCS#8 and public SPKI, PEM. */
export async function generateSigningKey(): Promise<{ privatePem: string; publicPem: string }> {
  const keys = await generateKeys();
  const publicDer = await webcrypto.subtle.exportKey('spki', keys.publicKey);
  return {
    privatePem: await exportPrivateKey(keys.privateKey),
    publicPem: x509.PemConverter.encode(publicDer, 'PUBLIC KEY'),
  };
}

/** A new self-signed authority. */
export async function createAuthority(commonName: string, nowMs: number): Promise<KeyPair> {
  const keys = await generateKeys();
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serialNumber(),
    name: [{ CN: [commonName] }],
    notBefore: new Date(nowMs - 300_000),
    notAfter: new Date(nowMs + authorityLifetimeMs),
    signingAlgorithm: algorithm,
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, undefined, true),
      new x509.KeyUsagesExtension(
        x509.KeyUsageFlags.digitalSignature | x509.KeyUsageFlags.keyEncipherment | x509.KeyUsageFlags.keyCertSign,
        true,
      ),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      new x509.SubjectAlternativeNameExtension([{ type: 'dns', value: commonName }]),
    ],
  });
  return { certPem: certificate.toString('pem'), keyPem: await exportPrivateKey(keys.privateKey) };
}

export interface LeafRequest {
  commonName: string;
  organizations?: readonly string[];
  /** Extended key usages as object identifiers. */
  usages: readonly string[];
  dnsNames?: readonly string[];
  ipAddresses?: readonly string[];
}

/** Signs a leaf certificate for a key generated here. */
export async function issueLeaf(authority: KeyPair, request: LeafRequest, nowMs: number): Promise<KeyPair> {
  const keys = await generateKeys();
  const issuer = new x509.X509Certificate(authority.certPem);
  const names: x509.JsonGeneralName[] = [
    ...(request.dnsNames ?? []).map((value) => ({ type: 'dns' as const, value })),
    ...(request.ipAddresses ?? []).map((value) => ({ type: 'ip' as const, value })),
  ];
  const organizations = request.organizations ?? [];
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: serialNumber(),
    subject: [...organizations.map((name) => ({ O: [name] })), { CN: [request.commonName] }],
    issuer: issuer.subjectName,
    notBefore: new Date(nowMs - 300_000),
    notAfter: new Date(Math.min(nowMs + leafLifetimeMs, issuer.notAfter.getTime())),
    signingAlgorithm: algorithm,
    publicKey: keys.publicKey,
    signingKey: await importPrivateKey(authority.keyPem),
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature | x509.KeyUsageFlags.keyEncipherment, true),
      new x509.ExtendedKeyUsageExtension([...request.usages], false),
      await x509.AuthorityKeyIdentifierExtension.create(issuer.publicKey),
      ...(names.length === 0 ? [] : [new x509.SubjectAlternativeNameExtension(names)]),
    ],
  });
  return { certPem: certificate.toString('pem'), keyPem: await exportPrivateKey(keys.privateKey) };
}
