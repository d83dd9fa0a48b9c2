// ABAC policies, authorizers that ask elsewhere, and the order in which several are asked.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createAbacAuthorizer } from '../../../control-plane-lite/authz/abac/abac-authorizer.ts';
import { parseAbacPolicy } from '../../../control-plane-lite/authz/abac/abac-policy.ts';
import { superuserAuthorizer } from '../../../control-plane-lite/authz/always.ts';
import {
  type AccessAttributes,
  type Authorizer,
  type Decision,
  unionAuthorizer,
} from '../../../control-plane-lite/authz/authorizer.ts';
import { decisionOf, reviewOf } from '../../../control-plane-lite/authz/webhook/review-of.ts';
import { createWebhookAuthorizer } from '../../../control-plane-lite/authz/webhook/webhook-authorizer.ts';
import { parseControlPlaneConfig } from '../../../control-plane-lite/config.ts';

const user = (username: string, ...groups: string[]) => ({ username, groups: [...groups, 'system:authenticated'] });
const on = (verb: string, resource: string, namespace = '', group = ''): AccessAttributes => ({
  isResource: true,
  verb,
  group,
  version: 'v1',
  resource,
  subresource: '',
  namespace,
  name: '',
});
const path = (verb: string, at: string): AccessAttributes => ({ isResource: false, verb, path: at });

describe('ABAC policies', () => {
  const current = 'abac.authorization.kubernetes.io/v1beta1';
  const line = (spec: object) => JSON.stringify({ apiVersion: current, kind: 'Policy', spec });
  const text = [
    '# comments and blank lines are passed over',
    '',
    line({ user: 'alice', namespace: '*', resource: '*', apiGroup: '*' }),
    line({ user: 'kubelet', namespace: '*', resource: 'pods', readonly: true }),
    line({ group: 'ops', nonResourcePath: '/debug/*', readonly: true }),
    line({ user: 'bob', group: 'web', namespace: 'web', resource: 'pods' }),
    line({ user: '*', nonResourcePath: '/version' }),
    '{"user":"old","namespace":"legacy"}',
    '{"readonly":true,"resource":"events"}',
  ].join('\n');
  const authorizer = createAbacAuthorizer(parseAbacPolicy(text, 'policy.jsonl'));
  const cases: [string, ReturnType<typeof user>, AccessAttributes, boolean][] = [
    ['everything to alice', user('alice'), on('delete', 'deployments', 'x', 'apps'), true],
    ['no paths to alice', user('alice'), path('get', '/metrics'), false],
    ['reads of pods to the kubelet', user('kubelet'), on('list', 'pods', 'a'), true],
    ['no writes to the kubelet', user('kubelet'), on('delete', 'pods', 'a'), false],
    ['no other groups where none is named', user('kubelet'), on('list', 'pods', 'a', 'metrics.k8s.io'), false],
    ['paths below one to a group', user('x', 'ops'), path('get', '/debug/pprof/'), true],
    ['no writes there', user('x', 'ops'), path('post', '/debug/pprof/'), false],
    ['a namespace to one user of a group', user('bob', 'web'), on('delete', 'pods', 'web'), true],
    ['nothing to the user alone', user('bob'), on('delete', 'pods', 'web'), false],
    ['nothing to the group alone', user('eve', 'web'), on('delete', 'pods', 'web'), false],
    ['a path to all who are known', user('eve'), path('get', '/version'), true],
    [
      'nothing to strangers',
      { username: 'system:anonymous', groups: ['system:unauthenticated'] },
      path('get', '/version'),
      false,
    ],
    ['all groups in the first form', user('old'), on('create', 'jobs', 'legacy', 'batch'), true],
    ['one namespace in the first form', user('old'), on('create', 'jobs', 'other', 'batch'), false],
    ['events to everybody in the first form', user('eve'), on('list', 'events', 'any'), true],
    ['nothing else', user('eve'), on('list', 'secrets', 'any'), false],
  ];
  for (const [what, who, access, isAllowed] of cases) {
    it(`give ${what}`, () => {
      assert.equal(authorizer.authorize(who, access).verdict, isAllowed ? 'allow' : 'noOpinion');
    });
  }

  it('are refused with the line that is wrong', () => {
    for (const wrong of [
      '{',
      '[]',
      '{"apiVersion":"v1","kind":"Policy"}',
      line({ user: 1 }),
      line({ readonly: 'yes' }),
    ]) {
      assert.throws(
        () => parseAbacPolicy(`\n${wrong}`, 'policy.jsonl'),
        /error reading policy file policy.jsonl, line 1/,
      );
    }
  });
});

describe('several authorizers', () => {
  const says = (verdict: Decision['verdict'], reason = ''): Authorizer => ({ authorize: () => ({ verdict, reason }) });
  const asks = (answer: () => Promise<Decision>) => ({ ...says('noOpinion'), decide: answer });
  const ask = (...authorizers: Parameters<typeof unionAuthorizer>[0][number][]) =>
    unionAuthorizer(authorizers).decide(user('x'), on('get', 'pods'));

  it('are asked in order until one allows or denies', async () => {
    assert.equal((await ask(says('noOpinion'), says('allow'), says('deny'))).verdict, 'allow');
    assert.equal((await ask(says('deny', 'no'), says('allow'))).reason, 'no');
    assert.deepEqual(
      await ask(
        says('noOpinion', 'a'),
        asks(async () => ({ verdict: 'noOpinion', reason: 'b' })),
        says('noOpinion', 'c'),
      ),
      {
        verdict: 'noOpinion',
        reason: 'a, b, c',
      },
    );
    assert.equal(
      (
        await ask(
          asks(async () => ({ verdict: 'noOpinion', reason: '' })),
          says('allow'),
        )
      ).verdict,
      'allow',
    );
  });

  it('answer at once where nobody has to be asked', () => {
    assert.ok(
      !(
        ask(
          says('noOpinion'),
          says('allow'),
          asks(() => assert.fail('asked')),
        ) instanceof Promise
      ),
    );
  });

  it('let others decide when one cannot say, and fail when nobody can', async () => {
    const broken = asks(async () => Promise.reject(new Error('no answer')));
    assert.equal((await ask(broken, says('allow'))).verdict, 'allow');
    assert.equal((await ask(broken, says('deny'))).verdict, 'deny');
    await assert.rejects(async () => ask(broken, says('noOpinion')), { message: 'Internal error occurred: no answer' });
  });

  it('never shut administrators out', () => {
    assert.equal(superuserAuthorizer.authorize(user('a', 'system:masters'), on('get', 'pods')).verdict, 'allow');
    assert.equal(superuserAuthorizer.authorize(user('a'), on('get', 'pods')).verdict, 'noOpinion');
  });
});

describe('webhook authorizers', () => {
  it('ask with what is known of the request, in either version', () => {
    const who = { username: 'jane', uid: '1', groups: ['g'], extra: { k: ['v'] } };
    const access = { ...on('get', 'pods', 'web'), subresource: 'log', name: 'p' };
    assert.deepEqual((reviewOf('v1', who, access) as { spec: object }).spec, {
      resourceAttributes: {
        namespace: 'web',
        verb: 'get',
        version: 'v1',
        resource: 'pods',
        subresource: 'log',
        name: 'p',
      },
      user: 'jane',
      groups: ['g'],
      extra: { k: ['v'] },
      uid: '1',
    });
    assert.deepEqual((reviewOf('v1beta1', user('x'), path('get', '/logs')) as { spec: object }).spec, {
      nonResourceAttributes: { path: '/logs', verb: 'get' },
      user: 'x',
      group: ['system:authenticated'],
    });
  });

  it('take only answers that are some', () => {
    assert.equal(decisionOf({ status: { allowed: true } }).verdict, 'allow');
    assert.deepEqual(decisionOf({ status: { allowed: false, denied: true, reason: 'r' } }), {
      verdict: 'deny',
      reason: 'r',
    });
    assert.equal(decisionOf({ status: { allowed: false } }).verdict, 'noOpinion');
    for (const wrong of [
      undefined,
      '',
      {},
      { status: {} },
      { status: { allowed: 'yes' } },
      { status: { allowed: true, denied: true } },
    ]) {
      assert.throws(() => decisionOf(wrong));
    }
  });

  it('remember permissions and refusals for as long as they hold, and failures not at all', async () => {
    let [nowMs, asked] = [0, 0];
    let answer: () => unknown = () => ({ status: { allowed: true } });
    const webhook = createWebhookAuthorizer({
      version: 'v1',
      authorizedTtlMs: 1000,
      unauthorizedTtlMs: 100,
      post: async () => {
        asked += 1;
        return answer();
      },
      nowMs: () => nowMs,
    });
    const verdict = async () => (await webhook.decide(user('x'), on('get', 'pods'))).verdict;
    assert.equal(webhook.authorize(user('x'), on('get', 'pods')).verdict, 'noOpinion');
    assert.deepEqual([await verdict(), await verdict(), asked], ['allow', 'allow', 1]);
    assert.equal(webhook.authorize(user('x'), on('get', 'pods')).verdict, 'allow');
    nowMs = 1001;
    answer = () => ({ status: { allowed: false } });
    assert.deepEqual([await verdict(), await verdict(), asked], ['noOpinion', 'noOpinion', 2]);
    nowMs = 1102;
    answer = () => ({});
    await assert.rejects(verdict);
    await assert.rejects(verdict);
    assert.equal(asked, 4);
  });
});

describe('flags of authorization', () => {
  const parse = (...argv: string[]) => parseControlPlaneConfig(argv).config.requests.authorization;

  it('name the modes in their order', () => {
    assert.deepEqual(parse().modes, ['Node', 'RBAC']);
    assert.deepEqual(parse('--authorization-mode=ABAC,RBAC', '--authorization-policy-file=/x').modes, ['ABAC', 'RBAC']);
    assert.deepEqual(parse('--authorization-mode=Webhook', '--authorization-webhook-config-file=/x').webhook, {
      configFile: '/x',
      version: 'v1beta1',
      authorizedTtlMs: 300_000,
      unauthorizedTtlMs: 30_000,
    });
  });

  const wrong: [string[], RegExp][] = [
    [['--authorization-mode=Nope'], /takes AlwaysAllow, AlwaysDeny, ABAC, Webhook, RBAC, Node, not "Nope"/],
    [['--authorization-mode=RBAC,RBAC'], /names RBAC twice/],
    [['--authorization-mode=ABAC'], /ABAC needs --authorization-policy-file/],
    [['--authorization-policy-file=/x'], /needs ABAC/],
    [['--authorization-mode=Webhook'], /Webhook needs --authorization-webhook-config-file/],
    [['--authorization-webhook-config-file=/x'], /needs Webhook/],
    [['--max-requests-inflight=-1'], /not negative, not -1/],
    [['--max-requests-inflight=0', '--max-mutating-requests-inflight=0'], /leave no seats/],
    [['--request-timeout=0s'], /a time above zero/],
  ];
  for (const [argv, message] of wrong) {
    it(`refuse ${argv.join(' ')}`, () => {
      assert.throws(() => parse(...argv), message);
    });
  }
});
