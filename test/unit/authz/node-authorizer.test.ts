// The Node authorizer: what follows from the pods on a node, as they come and go.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { AccessAttributes } from '../../../control-plane-lite/authz/authorizer.ts';
import { createNodeAuthorizer } from '../../../control-plane-lite/authz/node/node-authorizer.ts';
import type { ObjectReader } from '../../../control-plane-lite/registry/object-reader.ts';
import type { Pod } from '../../../kube/api/generated/core-v1.ts';

const volumes: Record<string, object> = {
  'persistentvolumes//pv': {
    spec: {
      claimRef: { namespace: 'a', name: 'claim' },
      csi: { nodePublishSecretRef: { namespace: 'drivers', name: 'key' } },
    },
  },
  'persistentvolumeclaims/a/claim': { spec: { volumeName: 'pv' } },
};
const objects = {
  get: ({ plural }: { plural: string }, namespace: string, name: string) => volumes[`${plural}/${namespace}/${name}`],
  list: () => [],
} as unknown as ObjectReader;

const node = { username: 'system:node:n1', groups: ['system:nodes'] };
const ask = (verb: string, resource: string, namespace: string, name: string, more: object = {}): AccessAttributes => ({
  isResource: true,
  verb,
  group: '',
  version: 'v1',
  resource,
  subresource: '',
  namespace,
  name,
  ...more,
});

const pod = (name: string, nodeName: string, secret: string): Pod => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name, namespace: 'a' },
  spec: {
    nodeName,
    serviceAccountName: 'sa',
    containers: [],
    volumes: [
      { name: 's', secret: { secretName: secret } },
      { name: 'c', persistentVolumeClaim: { claimName: 'claim' } },
    ],
  },
});

describe('the Node authorizer', () => {
  const create = () => {
    const authorizer = createNodeAuthorizer(objects);
    const may = (access: AccessAttributes, user = node) => authorizer.authorize(user, access).verdict === 'allow';
    return { authorizer, may };
  };

  it('lets a node read a secret while any pod of it needs the secret', () => {
    const { authorizer, may } = create();
    const secret = ask('get', 'secrets', 'a', 's');
    assert.equal(may(secret), false);
    authorizer.observePod('a/p', pod('p', 'n1', 's'));
    authorizer.observePod('a/q', pod('q', 'n1', 's'));
    assert.equal(may(secret), true);
    assert.equal(may(secret, { username: 'system:node:n2', groups: ['system:nodes'] }), false);
    authorizer.observePod('a/p', undefined);
    assert.equal(may(secret), true);
    authorizer.observePod('a/q', pod('q', 'n1', 'other'));
    assert.equal(may(secret), false);
  });

  it('follows claims to their volumes and the secrets of drivers', () => {
    const { authorizer, may } = create();
    authorizer.observePod('a/p', pod('p', 'n1', 's'));
    assert.equal(may(ask('get', 'persistentvolumes', '', 'pv')), true);
    assert.equal(may(ask('get', 'secrets', 'drivers', 'key')), true);
    assert.equal(may(ask('get', 'persistentvolumes', '', 'another')), false);
  });

  it('lets a node make tokens for the accounts of its pods only', () => {
    const { authorizer, may } = create();
    authorizer.observePod('a/p', pod('p', 'n1', 's'));
    assert.equal(may(ask('create', 'serviceaccounts', 'a', 'sa', { subresource: 'token' })), true);
    assert.equal(may(ask('create', 'serviceaccounts', 'a', 'other', { subresource: 'token' })), false);
  });

  it('lets a node keep its own lease', () => {
    const { may } = create();
    const lease = (name: string) => ask('update', 'leases', 'kube-node-lease', name, { group: 'coordination.k8s.io' });
    assert.equal(may(lease('n1')), true);
    assert.equal(may(lease('n2')), false);
  });

  it('has no opinion on users who are no nodes', () => {
    const { authorizer } = create();
    const { verdict } = authorizer.authorize({ username: 'bob', groups: [] }, ask('get', 'secrets', 'a', 's'));
    assert.equal(verdict, 'noOpinion');
  });
});
