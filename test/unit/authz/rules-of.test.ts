// What users may do, listed: by the policy file, and where the list cannot be whole.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { abacRulesOf } from '../../../control-plane-lite/authz/abac/abac-authorizer.ts';
import { parseAbacPolicy } from '../../../control-plane-lite/authz/abac/abac-policy.ts';
import { createAuthorizer } from '../../../control-plane-lite/authz/create-authorizer.ts';
import { systemClock } from '../../../kube/process/clock.ts';

const noOpinion = () => ({ verdict: 'noOpinion', reason: '' }) as const;

describe('the rules of a user', () => {
  it('are the lines of a policy file that are the user’s, in the namespace', () => {
    const spec = (fields: object) =>
      JSON.stringify({ apiVersion: 'abac.authorization.kubernetes.io/v1beta1', kind: 'Policy', spec: fields });
    const text = [
      spec({ user: 'jane', namespace: 'web', resource: 'pods', apiGroup: '', readonly: true }),
      spec({ user: 'jane', namespace: 'other', resource: 'secrets' }),
      spec({ user: 'jane', nonResourcePath: '/logs' }),
      spec({ user: 'joe', namespace: '*', resource: '*' }),
    ].join('\n');
    const listed = abacRulesOf(parseAbacPolicy(text, 'x'))({ username: 'jane', groups: [] }, 'web');
    assert.deepEqual(listed.rules, [
      { verbs: ['get', 'list', 'watch'], apiGroups: [''], resources: ['pods'] },
      { verbs: ['*'], nonResourceURLs: ['/logs'] },
    ]);
  });

  it('are whole for people and not for nodes, by node and role', () => {
    const rule = { verbs: ['get'], apiGroups: [''], resources: ['pods'] };
    const authorizer = createAuthorizer(
      { modes: ['Node', 'RBAC'], policyFile: undefined, webhook: undefined },
      {
        node: { authorize: noOpinion },
        rbac: { authorize: noOpinion, rulesFor: () => [rule] },
        clock: systemClock,
      },
    );
    assert.deepEqual(authorizer.rulesOf({ username: 'jane', groups: [] }, 'web'), { rules: [rule], incomplete: [] });
    const node = { username: 'system:node:a', groups: ['system:nodes'] };
    assert.deepEqual(authorizer.rulesOf(node, 'web').incomplete, [
      'node authorizer does not support user rule resolution',
    ]);
  });
});
