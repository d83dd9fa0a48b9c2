import 'reflect-metadata';
import assert from 'node:assert/strict';
import { webcrypto } from 'node:crypto';
import { test } from 'node:test';
import * as x509 from '@peculiar/x509';
import {
  readCertificateRequest,
  signCertificateRequest,
} from '../../../control-plane-lite/controllers/certificates/certificate-request.ts';
import {
  clientSigner,
  kubeletClientSigner,
  kubeletServingSigner,
  type RequestFacts,
  signerFault,
} from '../../../control-plane-lite/controllers/certificates/signer-rules.ts';
import { createAuthority } from '../../../control-plane-lite/pki/certificate-authority.ts';

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };

async function request(subject: string, names: x509.JsonGeneralName[] = []): Promise<string> {
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const extensions = names.length === 0 ? [] : [new x509.SubjectAlternativeNameExtension(names)];
  const created = await x509.Pkcs10CertificateRequestGenerator.create({
    name: subject,
    keys,
    signingAlgorithm: algorithm,
    extensions,
  });
  return Buffer.from(created.toString('pem')).toString('base64');
}

const node: RequestFacts = {
  commonName: 'system:node:n1',
  organizations: ['system:nodes'],
  dnsNames: [],
  ipAddresses: [],
  emailAddresses: [],
  uris: [],
};
const clientUsages = ['client auth', 'digital signature'];
const serverUsages = ['server auth', 'digital signature', 'key encipherment'];

const verdicts: [text: string, signer: string, facts: RequestFacts, usages: string[], signed: boolean][] = [
  ['a node', kubeletClientSigner, node, clientUsages, true],
  ['a node with names', kubeletClientSigner, { ...node, dnsNames: ['n1'] }, clientUsages, false],
  ['a user as a node', kubeletClientSigner, { ...node, commonName: 'jane' }, clientUsages, false],
  ['a node of two groups', kubeletClientSigner, { ...node, organizations: ['system:nodes', 'x'] }, clientUsages, false],
  ['a node that wants to serve', kubeletClientSigner, node, [...clientUsages, 'server auth'], false],
  ['a serving node', kubeletServingSigner, { ...node, ipAddresses: ['10.0.0.1'] }, serverUsages, true],
  ['a serving node without names', kubeletServingSigner, node, serverUsages, false],
  ['any client', clientSigner, { ...node, commonName: 'jane', organizations: [] }, clientUsages, true],
  ['a client that wants to sign', clientSigner, node, [...clientUsages, 'cert sign'], false],
  ['a client that is none', clientSigner, node, ['digital signature'], false],
];

for (const [text, signer, facts, usages, signed] of verdicts) {
  test(`${signed ? 'signs' : 'refuses'} ${text} for ${signer}`, () => {
    assert.equal(signerFault(signer, facts, usages) === undefined, signed);
  });
}

test('signs a request with its subject, names and usages, for no longer than asked', async () => {
  const nowMs = Date.parse('2026-06-01T00:00:00Z');
  const authority = await createAuthority('kubernetes', nowMs);
  const names: x509.JsonGeneralName[] = [
    { type: 'dns', value: 'n1' },
    { type: 'ip', value: '10.0.0.1' },
  ];
  const read = await readCertificateRequest(await request('O=system:nodes, CN=system:node:n1', names));
  assert.deepEqual(read.facts, { ...node, dnsNames: ['n1'], ipAddresses: ['10.0.0.1'] });
  const pem = await signCertificateRequest(authority, read, serverUsages, { fromMs: nowMs, lifetimeMs: 3_600_000 });
  const certificate = new x509.X509Certificate(pem);
  assert.equal(certificate.notAfter.getTime(), nowMs + 3_600_000);
  assert.equal(certificate.subjectName.getField('CN')[0], 'system:node:n1');
  assert.equal(certificate.getExtension(x509.ExtendedKeyUsageExtension)?.usages.join(), '1.3.6.1.5.5.7.3.1');
  const issuer = new x509.X509Certificate(authority.certPem);
  assert.equal(await certificate.verify({ publicKey: issuer.publicKey, date: new Date(nowMs) }), true);
});

test('refuses what is no request, and one whose signature is wrong', async () => {
  await assert.rejects(readCertificateRequest(Buffer.from('hello').toString('base64')), /PEM block type/);
  const pem = Buffer.from(await request('CN=jane'), 'base64').toString();
  const body = pem.split('\n').slice(1, -1).join('').replace('-----END CERTIFICATE REQUEST-----', '');
  const der = Buffer.from(body, 'base64');
  der[der.length - 5] = (der.at(-5) ?? 0) ^ 1;
  const forged = `-----BEGIN CERTIFICATE REQUEST-----\n${der.toString('base64')}\n-----END CERTIFICATE REQUEST-----\n`;
  await assert.rejects(readCertificateRequest(Buffer.from(forged).toString('base64')));
});
