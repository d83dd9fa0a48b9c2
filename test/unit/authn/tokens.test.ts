// Service account tokens, bearer headers and bootstrap tokens.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { bearerTokenOf } from '../../../control-plane-lite/authn/bearer-token.ts';
import { createBootstrapTokens } from '../../../control-plane-lite/authn/bootstrap-token.ts';
import { createServiceAccountTokens } from '../../../control-plane-lite/authn/service-account-tokens.ts';
import { generateSigningKey } from '../../../control-plane-lite/pki/certificate-authority.ts';
import type { ObjectReader } from '../../../control-plane-lite/registry/object-reader.ts';

const nowMs = Date.parse('2026-01-01T00:00:00Z');
const account = { name: 'sa', uid: 'sa-uid' };

function reader(found: Record<string, object>): ObjectReader {
  return {
    get: (resource: { plural: string }, namespace: string, name: string) =>
      found[`${resource.plural}/${namespace}/${name}`],
    list: () => [],
  } as unknown as ObjectReader;
}

describe('service account tokens', () => {
  const found: Record<string, object> = { 'serviceaccounts/a/sa': { metadata: { name: 'sa', uid: 'sa-uid' } } };
  const setUp = async () => createServiceAccountTokens(await generateSigningKey(), 'https://issuer', reader(found));
  const request = { namespace: 'a', account, audiences: ['https://issuer'], nowMs, lifetimeSeconds: 600 };

  it('say who they are for as long as they live', async () => {
    const tokens = await setUp();
    const token = await tokens.issue(request);
    const verified = await tokens.verify(token, nowMs + 1000);
    assert.equal(verified?.user.username, 'system:serviceaccount:a:sa');
    assert.deepEqual(verified?.user.groups, ['system:serviceaccounts', 'system:serviceaccounts:a']);
    assert.equal(await tokens.verify(token, nowMs + 601_000), undefined);
  });

  it('are worth nothing when changed, signed by others, or after the account was made anew', async () => {
    const tokens = await setUp();
    const token = await tokens.issue(request);
    assert.equal(await tokens.verify(`${token.slice(0, -4)}AAAA`, nowMs), undefined);
    assert.equal(await (await setUp()).verify(token, nowMs), undefined);
    found['serviceaccounts/a/sa'] = { metadata: { name: 'sa', uid: 'new-uid' } };
    assert.equal(await tokens.verify(token, nowMs), undefined);
    found['serviceaccounts/a/sa'] = { metadata: { name: 'sa', uid: 'sa-uid' } };
  });

  it('carry the pod and node that they are bound to', async () => {
    const tokens = await setUp();
    found['pods/a/p'] = { metadata: { name: 'p', uid: 'p-uid' } };
    const bound = { kind: 'Pod', name: 'p', uid: 'p-uid' } as const;
    const token = await tokens.issue({ ...request, bound, node: { name: 'n', uid: 'n-uid' } });
    const extra = (await tokens.verify(token, nowMs))?.user.extra;
    assert.deepEqual(extra?.['authentication.kubernetes.io/pod-name'], ['p']);
    assert.deepEqual(extra?.['authentication.kubernetes.io/node-name'], ['n']);
    delete found['pods/a/p'];
    assert.equal(await tokens.verify(token, nowMs), undefined);
  });
});

describe('bearer tokens', () => {
  it('are read from the header, or from the subprotocol that browsers use', () => {
    assert.equal(bearerTokenOf({ authorization: 'Bearer abc' }), 'abc');
    assert.equal(bearerTokenOf({ authorization: 'Basic abc' }), undefined);
    const encoded = Buffer.from('abc').toString('base64url');
    const protocols = `v4.channel.k8s.io, base64url.bearer.authorization.k8s.io.${encoded}`;
    assert.equal(bearerTokenOf({ 'sec-websocket-protocol': protocols }), 'abc');
  });
});

describe('bootstrap tokens', () => {
  const encode = (data: Record<string, string>) =>
    Object.fromEntries(Object.entries(data).map(([key, text]) => [key, Buffer.from(text).toString('base64')]));
  const lookUp = (data: Record<string, string>, token: string) =>
    createBootstrapTokens(
      reader({
        'secrets/kube-system/bootstrap-token-abcdef': {
          metadata: { name: 'x' },
          type: 'bootstrap.kubernetes.io/token',
          data: encode(data),
        },
      }),
    )(token, nowMs);
  const good = {
    'token-id': 'abcdef',
    'token-secret': '0123456789abcdef',
    'usage-bootstrap-authentication': 'true',
    'auth-extra-groups': 'system:bootstrappers:worker,system:masters',
  };

  it('identify a joining node, with no group but those of bootstrappers', () => {
    assert.deepEqual(lookUp(good, 'abcdef.0123456789abcdef'), {
      username: 'system:bootstrap:abcdef',
      groups: ['system:bootstrappers', 'system:bootstrappers:worker'],
    });
  });

  it('are refused when wrong, expired or not for authentication', () => {
    assert.equal(lookUp(good, 'abcdef.0123456789abcdee'), undefined);
    assert.equal(lookUp({ ...good, expiration: '2025-12-31T00:00:00Z' }, 'abcdef.0123456789abcdef'), undefined);
    assert.equal(lookUp({ ...good, 'usage-bootstrap-authentication': 'false' }, 'abcdef.0123456789abcdef'), undefined);
  });
});
