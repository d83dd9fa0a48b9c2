// The Node authorizer: what follows from the pods on a node, as they come and go.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { AccessAttributes } from '../../../control-plane-lite/authz/authorizer.ts';
import { createNodeAuthorizer } from '../../../control-plane-lite/authz/node/node-authorizer.ts';
import { createNodeGraph } from '../../../control-plane-lite/authz/node/node-graph.ts';
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
  'persistentvolumes//foreign': {
    spec: {
      claimRef: { namespace: 'b', name: 'other' },
      csi: { nodePublishSecretRef: { namespace: 'drivers', name: 'foreign-key' } },
    },
  },
  'persistentvolumeclaims/a/greedy': { spec: { volumeName: 'foreign' } },
  'volumeattachments//own': { spec: { nodeName: 'n1' } },
  'volumeattachments//foreign': { spec: { nodeName: 'n2' } },
  'resourceslices//own': { spec: { nodeName: 'n1' } },
  'resourceslices//foreign': { spec: { nodeName: 'n2' } },
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
    const graph = createNodeGraph(objects);
    const authorizer = createNodeAuthorizer(objects, graph);
    const may = (access: AccessAttributes, user = node) => authorizer.authorize(user, access).verdict === 'allow';
    return { authorizer, graph, may };
  };

  it('lets a node read a secret while any pod of it needs the secret', () => {
    const { graph, may } = create();
    const secret = ask('get', 'secrets', 'a', 's');
    assert.equal(may(secret), false);
    graph.observePod('a/p', pod('p', 'n1', 's'));
    graph.observePod('a/q', pod('q', 'n1', 's'));
    assert.equal(may(secret), true);
    assert.equal(may(secret, { username: 'system:node:n2', groups: ['system:nodes'] }), false);
    graph.observePod('a/p', undefined);
    assert.equal(may(secret), true);
    graph.observePod('a/q', pod('q', 'n1', 'other'));
    assert.equal(may(secret), false);
  });

  it('follows claims to their volumes and the secrets of drivers', () => {
    const { graph, may } = create();
    graph.observePod('a/p', pod('p', 'n1', 's'));
    assert.equal(may(ask('get', 'persistentvolumes', '', 'pv')), true);
    assert.equal(may(ask('get', 'secrets', 'drivers', 'key')), true);
    assert.equal(may(ask('get', 'persistentvolumes', '', 'another')), false);
    const greedy: Pod = {
      ...pod('q', 'n1', 's'),
      spec: {
        nodeName: 'n1',
        containers: [],
        volumes: [{ name: 'c', persistentVolumeClaim: { claimName: 'greedy' } }],
      },
    };
    graph.observePod('a/q', greedy);
    assert.equal(may(ask('get', 'persistentvolumes', '', 'foreign')), false);
    assert.equal(may(ask('get', 'secrets', 'drivers', 'foreign-key')), false);
  });

  it('lets a node make tokens for the accounts of its pods only', () => {
    const { graph, may } = create();
    graph.observePod('a/p', pod('p', 'n1', 's'));
    assert.equal(may(ask('create', 'serviceaccounts', 'a', 'sa', { subresource: 'token' })), true);
    assert.equal(may(ask('create', 'serviceaccounts', 'a', 'other', { subresource: 'token' })), false);
  });

  it('lets a node keep its own lease', () => {
    const { may } = create();
    const lease = (name: string) => ask('update', 'leases', 'kube-node-lease', name, { group: 'coordination.k8s.io' });
    assert.equal(may(lease('n1')), true);
    assert.equal(may(lease('n2')), false);
  });

  it('lets a node read pods one by one, and many only by its own name', () => {
    const { graph, may } = create();
    const of = (node: string) => ({ fieldSelector: [{ field: 'spec.nodeName', operator: '=', value: node }] });
    const different = { fieldSelector: [{ field: 'spec.nodeName', operator: '!=', value: 'n1' }] };
    graph.observePod('a/p', pod('p', 'n1', 's'));
    graph.observePod('a/q', pod('q', 'n2', 's'));
    const table: [AccessAttributes, boolean][] = [
      [ask('get', 'pods', 'a', 'p'), true],
      [ask('get', 'pods', 'a', 'q'), false],
      [ask('watch', 'pods', 'a', 'p'), true],
      [ask('list', 'pods', 'a', 'q'), false],
      [ask('list', 'pods', '', ''), false],
      [ask('list', 'pods', '', '', of('n1')), true],
      [ask('watch', 'pods', '', '', of('n1')), true],
      [ask('watch', 'pods', '', '', of('n2')), false],
      [ask('list', 'pods', '', '', different), false],
      [ask('deletecollection', 'pods', 'a', '', of('n1')), false],
      [ask('get', 'pods', 'a', 'p', { subresource: 'log' }), false],
    ];
    for (const [access, expected] of table) assert.equal(may(access), expected, JSON.stringify(access));
  });

  it('lets a node read itself, before it exists too, and no other', () => {
    const { may } = create();
    for (const verb of ['get', 'list', 'watch']) {
      assert.equal(may(ask(verb, 'nodes', '', 'n1')), true, verb);
      assert.equal(may(ask(verb, 'nodes', '', 'n2')), false, verb);
      assert.equal(may(ask(verb, 'nodes', '', '')), false, verb);
    }
    assert.equal(may(ask('update', 'nodes', '', 'n1', { subresource: 'status' })), true);
    assert.equal(may(ask('delete', 'nodes', '', 'n1')), false);
    assert.equal(may(ask('get', 'nodes', '', 'n1', { subresource: 'proxy' })), false);
  });

  it('lets a node read attachments, slices and resource claims that are its own', () => {
    const { graph, may } = create();
    const claiming: Pod = {
      ...pod('p', 'n1', 's'),
      spec: {
        nodeName: 'n1',
        containers: [],
        resourceClaims: [
          { name: 'x', resourceClaimName: 'shared' },
          { name: 'y', resourceClaimTemplateName: 't' },
        ],
      },
      status: {
        resourceClaimStatuses: [{ name: 'y', resourceClaimName: 'made' }],
        extendedResourceClaimStatus: { resourceClaimName: 'extended', requestMappings: [] },
      },
    };
    graph.observePod('a/p', claiming);
    const group = { group: 'resource.k8s.io' };
    for (const name of ['shared', 'made', 'extended']) {
      assert.equal(may(ask('get', 'resourceclaims', 'a', name, group)), true, name);
      assert.equal(may(ask('list', 'resourceclaims', 'a', name, group)), false, name);
    }
    assert.equal(may(ask('get', 'resourceclaims', 'a', 'other', group)), false);
    const storage = { group: 'storage.k8s.io' };
    assert.equal(may(ask('get', 'volumeattachments', '', 'own', storage)), true);
    assert.equal(may(ask('get', 'volumeattachments', '', 'foreign', storage)), false);
    assert.equal(may(ask('list', 'volumeattachments', '', 'own', storage)), false);
    for (const verb of ['get', 'update', 'patch', 'delete']) {
      assert.equal(may(ask(verb, 'resourceslices', '', 'own', group)), true, verb);
      assert.equal(may(ask(verb, 'resourceslices', '', 'foreign', group)), false, verb);
    }
    const own = { ...group, fieldSelector: [{ field: 'spec.nodeName', operator: '=', value: 'n1' }] };
    for (const verb of ['list', 'watch', 'deletecollection']) {
      assert.equal(may(ask(verb, 'resourceslices', '', '', own)), true, verb);
      assert.equal(may(ask(verb, 'resourceslices', '', '', group)), false, verb);
    }
    assert.equal(may(ask('create', 'resourceslices', '', '', group)), true);
  });

  it('has no opinion on users who are no nodes', () => {
    const { authorizer } = create();
    const { verdict } = authorizer.authorize({ username: 'bob', groups: [] }, ask('get', 'secrets', 'a', 's'));
    assert.equal(verdict, 'noOpinion');
  });
});
