import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Secret } from '#kube/api/generated/core-v1.ts';
import { isSignedBy, parseBootstrapToken, signKubeconfig } from '#kube/bootstrap/cluster-info.ts';
import { signedData } from '../../../control-plane-lite/controllers/bootstrap-tokens/bootstrap-signer.ts';
import { expiresInMs } from '../../../control-plane-lite/controllers/bootstrap-tokens/token-secret.ts';

const nowMs = Date.parse('2026-01-01T00:00:00Z');
const token = (data: Record<string, string>): Secret => ({
  apiVersion: 'v1',
  kind: 'Secret',
  metadata: { name: 'bootstrap-token-abcdef' },
  data: Object.fromEntries(Object.entries(data).map(([key, value]) => [key, Buffer.from(value).toString('base64')])),
});
const good = { 'token-id': 'abcdef', 'token-secret': '0123456789abcdef', 'usage-bootstrap-signing': 'true' };

describe('the signature of cluster-info', () => {
  it('proves the token and the content', () => {
    const own = parseBootstrapToken('abcdef.0123456789abcdef');
    assert.ok(own);
    const signature = signKubeconfig('content', own);
    assert.match(signature, /^[\w-]+\.\.[\w-]+$/);
    assert.equal(isSignedBy('content', own, signature), true);
    assert.equal(isSignedBy('Content', own, signature), false);
    assert.equal(isSignedBy('content', { ...own, secret: 'fedcba9876543210' }, signature), false);
    assert.equal(isSignedBy('content', own, 'rubbish'), false);
  });

  it('is that of RFC 7515 over the detached content', () => {
    // Made by `openssl dgst -sha256 -hmac` over the two encoded parts.
    const own = { id: 'abcdef', secret: '0123456789abcdef' };
    const [header = ''] = signKubeconfig('x', own).split('.');
    assert.deepEqual(JSON.parse(Buffer.from(header, 'base64url').toString()), { alg: 'HS256', kid: 'abcdef' });
  });

  it('takes tokens of one form only', () => {
    for (const text of ['abcdef', 'ABCDEF.0123456789abcdef', 'abcdef.0123', 'abcdef.0123456789abcdefg'])
      assert.equal(parseBootstrapToken(text), undefined);
  });
});

describe('signedData', () => {
  const data = { kubeconfig: 'k', other: 'o', 'jws-kubeconfig-gone00': 'old' };

  it('has a signature of each token that may sign, and of no other', () => {
    const signed = signedData(data, [token(good)], nowMs);
    assert.deepEqual(Object.keys(signed).sort(), ['jws-kubeconfig-abcdef', 'kubeconfig', 'other']);
    assert.deepEqual(Object.keys(signedData(data, [token({ ...good, 'usage-bootstrap-signing': 'false' })], nowMs)), [
      'kubeconfig',
      'other',
    ]);
    const ended = token({ ...good, expiration: '2025-12-31T23:59:59Z' });
    assert.deepEqual(Object.keys(signedData(data, [ended], nowMs)), ['kubeconfig', 'other']);
  });

  it('signs nothing where there is nothing to sign', () => {
    assert.deepEqual(signedData({ a: 'b' }, [token(good)], nowMs), { a: 'b' });
  });
});

describe('expiresInMs', () => {
  it('reads the end of a token', () => {
    assert.equal(expiresInMs(token(good), nowMs), Number.POSITIVE_INFINITY);
    assert.equal(expiresInMs(token({ ...good, expiration: '2026-01-01T00:00:01Z' }), nowMs), 1000);
    assert.equal(expiresInMs(token({ ...good, expiration: 'soon' }), nowMs), Number.NEGATIVE_INFINITY);
  });
});
