// Role-based access control: which rule covers what, and what goes beyond one's own rules.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { AccessAttributes } from '../../../control-plane-lite/authz/authorizer.ts';
import { uncoveredRules } from '../../../control-plane-lite/authz/rbac/covers.ts';
import { createRbacAuthorizer } from '../../../control-plane-lite/authz/rbac/rbac-authorizer.ts';
import { ruleMatches } from '../../../control-plane-lite/authz/rbac/rule-matches.ts';
import type { ObjectReader } from '../../../control-plane-lite/registry/object-reader.ts';

const access = (verb: string, resource: string, more: object = {}): AccessAttributes => {
  const [plural = '', subresource = ''] = resource.split('/');
  return {
    isResource: true,
    verb,
    group: '',
    version: 'v1',
    resource: plural,
    subresource,
    namespace: '',
    name: '',
    ...more,
  };
};

describe('a rule', () => {
  const rule = (resources: string[], more: object = {}) => ({ apiGroups: [''], resources, verbs: ['get'], ...more });
  const cases: [string, Parameters<typeof ruleMatches>, boolean][] = [
    ['covers its resource', [rule(['pods']), access('get', 'pods')], true],
    ['covers no other verb', [rule(['pods']), access('list', 'pods')], false],
    ['covers no other group', [rule(['pods']), access('get', 'pods', { group: 'apps' })], false],
    ['does not cover subresources with the resource', [rule(['pods']), access('get', 'pods/log')], false],
    ['covers a subresource by name', [rule(['pods/log']), access('get', 'pods/log')], true],
    ['covers a subresource of any resource', [rule(['*/scale']), access('get', 'deployments/scale')], true],
    ['covers everything with a star', [rule(['*']), access('get', 'pods/log')], true],
    [
      'covers only the named objects',
      [rule(['pods'], { resourceNames: ['a'] }), access('get', 'pods', { name: 'b' })],
      false,
    ],
    ['covers a named object', [rule(['pods'], { resourceNames: ['a'] }), access('get', 'pods', { name: 'a' })], true],
    [
      'covers paths below a star',
      [
        { verbs: ['get'], nonResourceURLs: ['/healthz/*'] },
        { isResource: false, verb: 'get', path: '/healthz/x' },
      ],
      true,
    ],
  ];
  for (const [name, [given, asked], wanted] of cases) {
    it(name, () => assert.equal(ruleMatches(given, asked), wanted));
  }
});

describe('rules that go beyond others', () => {
  const get = (resources: string[], resourceNames?: string[]) => ({
    apiGroups: [''],
    resources,
    verbs: ['get'],
    ...(resourceNames === undefined ? {} : { resourceNames }),
  });

  it('are named one by one', () => {
    const uncovered = uncoveredRules([get(['pods'])], [{ ...get(['pods', 'secrets']), verbs: ['get', 'list'] }]);
    assert.deepEqual(
      uncovered.map(({ verbs, resources }) => `${verbs[0]} ${resources?.[0]}`),
      ['get secrets', 'list pods', 'list secrets'],
    );
  });

  it('include all objects where only some are owned, and a star where there is none', () => {
    assert.equal(uncoveredRules([get(['pods'], ['a'])], [get(['pods'])]).length, 1);
    assert.equal(uncoveredRules([get(['pods'])], [get(['pods'], ['a'])]).length, 0);
    assert.equal(uncoveredRules([get(['pods'])], [get(['*'])]).length, 1);
    assert.equal(uncoveredRules([get(['*'])], [get(['pods'])]).length, 0);
  });
});

describe('the authorizer', () => {
  const objects = {
    get: (_resource: unknown, namespace: string, name: string) =>
      name === 'reader' && namespace === 'a'
        ? { rules: [{ apiGroups: [''], resources: ['pods'], verbs: ['get'] }] }
        : undefined,
    list: (resource: { plural: string }) =>
      resource.plural === 'rolebindings'
        ? [
            {
              metadata: { name: 'b', namespace: 'a' },
              roleRef: { kind: 'Role', name: 'reader', apiGroup: 'rbac.authorization.k8s.io' },
              subjects: [{ kind: 'ServiceAccount', name: 'sa' }],
            },
          ]
        : [],
  } as unknown as ObjectReader;
  const rbac = createRbacAuthorizer(objects);
  const user = (username: string, ...groups: string[]) => ({ username, groups });

  it('takes the namespace of a binding for its service accounts and its rules', () => {
    const account = user('system:serviceaccount:a:sa');
    assert.equal(rbac.authorize(account, access('get', 'pods', { namespace: 'a' })).verdict, 'allow');
    assert.equal(rbac.authorize(account, access('get', 'pods', { namespace: 'b' })).verdict, 'noOpinion');
    assert.equal(
      rbac.authorize(user('system:serviceaccount:b:sa'), access('get', 'pods', { namespace: 'a' })).verdict,
      'noOpinion',
    );
  });

  it('says by which binding access was given', () => {
    const { reason } = rbac.authorize(user('system:serviceaccount:a:sa'), access('get', 'pods', { namespace: 'a' }));
    assert.equal(reason, 'RBAC: allowed by RoleBinding "b/a" of Role "reader" to ServiceAccount "sa/"');
  });

  it('never refuses a member of system:masters', () => {
    assert.equal(rbac.authorize(user('x', 'system:masters'), access('delete', 'nodes')).verdict, 'allow');
  });
});
