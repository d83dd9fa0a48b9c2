// Rules of FlowSchemas and PriorityLevelConfigurations, in the reference's words.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  validateFlowSchema,
  validatePriorityLevel,
} from '../../../control-plane-lite/registry/validation/flow-validation.ts';
import type { FlowSchema, PriorityLevelConfiguration } from '../../../kube/api/generated/flowcontrol-v1.ts';
import { loadBootstrapObjects } from '../../support/bootstrap-flows.ts';

const base = { apiVersion: 'flowcontrol.apiserver.k8s.io/v1' };
const texts = (errors: readonly { field: string; message: string }[]) =>
  errors.map(({ field, message }) => `${field}: ${message}`);

describe('the objects of a new cluster', () => {
  const { flowSchemas, priorityLevels } = loadBootstrapObjects();
  it('are valid', () => {
    assert.deepEqual(flowSchemas.flatMap(validateFlowSchema), []);
    assert.deepEqual(priorityLevels.flatMap(validatePriorityLevel), []);
  });

  it('keep the specs that are fixed', () => {
    const changed = flowSchemas.filter(({ metadata }) => metadata.name === 'catch-all');
    const [schema] = changed.map((each) => ({ ...each, spec: { ...each.spec, matchingPrecedence: 9000 } }));
    assert.ok(schema !== undefined);
    assert.match(texts(validateFlowSchema(schema)).join(), /spec of 'catch-all' must equal the fixed value/);
    const exempt = priorityLevels.find(({ metadata }) => metadata.name === 'exempt');
    assert.ok(exempt !== undefined);
    const lending = {
      ...exempt,
      spec: { type: 'Exempt', exempt: { nominalConcurrencyShares: 3, lendablePercent: 50 } },
    };
    assert.deepEqual(validatePriorityLevel(lending), []);
  });
});

describe('flow schemas', () => {
  const rule = {
    subjects: [{ kind: 'User', user: { name: 'a' } }],
    resourceRules: [{ verbs: ['get'], apiGroups: [''], resources: ['pods'], namespaces: ['*'] }],
  };
  const good = { matchingPrecedence: 10, priorityLevelConfiguration: { name: 'x' }, rules: [rule] };
  const of = (spec: object) =>
    texts(validateFlowSchema({ ...base, kind: 'FlowSchema', metadata: { name: 'f' }, spec } as FlowSchema));
  const withRule = (change: object) => of({ ...good, rules: [{ ...rule, ...change }] });
  const withResource = (change: object) => withRule({ resourceRules: [{ ...rule.resourceRules[0], ...change }] });

  it('are taken when they are whole', () => {
    assert.deepEqual(of(good), []);
  });

  const cases: [string[], string][] = [
    [of({ ...good, matchingPrecedence: 0 }), 'spec.matchingPrecedence: Invalid value: 0: must be a positive value'],
    [
      of({ ...good, matchingPrecedence: 10_001 }),
      'spec.matchingPrecedence: Invalid value: 10001: must not be greater than 10000',
    ],
    [
      of({ ...good, matchingPrecedence: 1 }),
      "spec.matchingPrecedence: Invalid value: 1: only the schema named 'exempt' may have matchingPrecedence 1",
    ],
    [
      of({ ...good, priorityLevelConfiguration: { name: '' } }),
      'spec.priorityLevelConfiguration.name: Required value: must reference a priority level',
    ],
    [withRule({ subjects: [] }), 'spec.rules[0].subjects: Required value: subjects must contain at least one value'],
    [
      withRule({ resourceRules: [] }),
      'spec.rules[0]: Required value: at least one of resourceRules and nonResourceRules has to be non-empty',
    ],
    [
      withRule({ subjects: [{ kind: 'Robot' }] }),
      'spec.rules[0].subjects[0].kind: Unsupported value: "Robot": supported values: "Group", "ServiceAccount", "User"',
    ],
    [
      withRule({ subjects: [{ kind: 'User' }] }),
      "spec.rules[0].subjects[0].user: Required value: user is required when subject kind is 'User'",
    ],
    [
      withRule({ subjects: [{ kind: 'User', user: { name: 'a' }, group: { name: 'b' } }] }),
      "spec.rules[0].subjects[0].group: Forbidden: group is forbidden when subject kind is not 'Group'",
    ],
    [
      withRule({ subjects: [{ kind: 'ServiceAccount', serviceAccount: { name: '*' } }] }),
      'spec.rules[0].subjects[0].serviceAccount.namespace: Required value: must specify namespace for service account',
    ],
    [
      withResource({ verbs: ['*', 'get'] }),
      `spec.rules[0].resourceRules[0].verbs: Invalid value: ["*","get"]: if '*' is present, must not specify other verbs`,
    ],
    [
      withResource({ apiGroups: [] }),
      'spec.rules[0].resourceRules[0].apiGroups: Required value: resource rules must supply at least one api group',
    ],
    [
      withResource({ namespaces: [] }),
      'spec.rules[0].resourceRules[0].namespaces: Required value: resource rules that are not cluster scoped must supply at least one namespace',
    ],
    [
      withRule({ nonResourceRules: [{ verbs: ['get'], nonResourceURLs: ['healthz'] }] }),
      'spec.rules[0].nonResourceRules[0].nonResourceURLs[0]: Invalid value: "healthz": must start with slash',
    ],
    [
      withRule({ nonResourceRules: [{ verbs: ['get'], nonResourceURLs: ['/a*'] }] }),
      'spec.rules[0].nonResourceRules[0].nonResourceURLs[0]: Invalid value: "/a*": wildcard can only do suffix matching',
    ],
  ];
  for (const [errors, wanted] of cases) {
    it(`are refused: ${wanted}`, () => {
      assert.deepEqual(errors, [wanted]);
    });
  }
});

describe('priority levels', () => {
  const of = (spec: object, name = 'p') =>
    texts(
      validatePriorityLevel({
        ...base,
        kind: 'PriorityLevelConfiguration',
        metadata: { name },
        spec,
      } as PriorityLevelConfiguration),
    );
  const queued = (queuing: object) =>
    of({ type: 'Limited', limited: { nominalConcurrencyShares: 1, limitResponse: { type: 'Queue', queuing } } });
  const queuing = { queues: 64, handSize: 8, queueLengthLimit: 50 };
  const limited = (change: object) =>
    of({ type: 'Limited', limited: { nominalConcurrencyShares: 1, limitResponse: { type: 'Reject' }, ...change } });

  it('are taken when they are whole', () => {
    assert.deepEqual(queued(queuing), []);
    assert.deepEqual(limited({}), []);
  });

  const cases: [string[], string][] = [
    [of({ type: 'Limited' }), 'spec.limited: Required value: must not be empty when type is Limited'],
    [
      of({ type: 'Exempt' }),
      `spec.type: Invalid value: "Exempt": type must be 'Exempt' if and only if name is 'exempt'`,
    ],
    [of({ type: 'Some' }), 'spec.type: Unsupported value: "Some": supported values: "Exempt", "Limited"'],
    [
      limited({ nominalConcurrencyShares: -1 }),
      'spec.limited.nominalConcurrencyShares: Invalid value: -1: must be a non-negative integer',
    ],
    [
      limited({ lendablePercent: 101 }),
      'spec.limited.lendablePercent: Invalid value: 101: must be between 0 and 100, inclusive',
    ],
    [
      limited({ limitResponse: { type: 'Queue' } }),
      'spec.limited.limitResponse.queuing: Required value: must not be empty if limited.limitResponse.type is Limited',
    ],
    [
      limited({ limitResponse: { type: 'Reject', queuing } }),
      'spec.limited.limitResponse.queuing: Forbidden: must be nil if limited.limitResponse.type is not Limited',
    ],
    [
      queued({ ...queuing, queues: 20_000_000, handSize: 1 }),
      'spec.limited.limitResponse.queuing.queues: Invalid value: 20000000: must not be greater than 10000000',
    ],
    [
      queued({ ...queuing, handSize: 65 }),
      'spec.limited.limitResponse.queuing.handSize: Invalid value: 65: should not be greater than queues (64)',
    ],
    [
      queued({ ...queuing, queues: 512, handSize: 8 }),
      'spec.limited.limitResponse.queuing.handSize: Invalid value: 8: required entropy bits of deckSize 512 and handSize 8 should not be greater than 60',
    ],
  ];
  for (const [errors, wanted] of cases) {
    it(`are refused: ${wanted}`, () => {
      assert.deepEqual(errors, [wanted]);
    });
  }
});
