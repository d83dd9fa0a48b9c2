// Which requests webhooks and policies are about: rules, scopes, versions and selectors.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { AdmissionAttributes } from '../../../control-plane-lite/admission/matching/admission-attributes.ts';
import {
  attributesOfRequest,
  equivalentResources,
} from '../../../control-plane-lite/admission/matching/admission-attributes.ts';
import { conditionNames } from '../../../control-plane-lite/admission/matching/condition-names.ts';
import {
  compileConditions,
  evaluateConditions,
} from '../../../control-plane-lite/admission/matching/match-conditions.ts';
import {
  matchingResource,
  type Rule,
  ruleMatches,
} from '../../../control-plane-lite/admission/matching/match-rules.ts';
import { namespaceMatches, objectMatches } from '../../../control-plane-lite/admission/matching/match-selectors.ts';
import type { AdmissionRequest } from '../../../control-plane-lite/admission/plugin.ts';
import { Budget } from '../../../control-plane-lite/cel/budget.ts';
import type { ObjectReader } from '../../../control-plane-lite/registry/object-reader.ts';
import { loadResourceTable } from '../../../control-plane-lite/registry/resource-table.ts';
import type { KubeObject } from '../../../kube/api/resource.ts';

const table = loadResourceTable();

function attributes(
  [group, version, plural]: [string, string, string],
  more: Partial<AdmissionRequest> & { labels?: Record<string, string> } = {},
): AdmissionAttributes {
  const served = table.find(group, version, plural);
  assert.ok(served !== undefined);
  const object = { kind: served.resource.kind, metadata: { name: 'x', labels: more.labels ?? {} } } as KubeObject;
  return attributesOfRequest({
    verb: 'create',
    served,
    subresource: '',
    namespace: served.resource.namespaced ? 'a' : '',
    name: 'x',
    object,
    previous: undefined,
    context: { user: { username: 'u', groups: [] }, nowMs: 0, dryRun: false, fieldManager: 'm', warn: () => undefined },
    objects: {} as ObjectReader,
    ...more,
  });
}

const pods: [string, string, string] = ['', 'v1', 'pods'];
const all: Rule = { apiGroups: ['*'], apiVersions: ['*'], operations: ['*'], resources: ['*'] };

describe('rules', () => {
  const cases: [string, Rule, AdmissionAttributes, boolean][] = [
    ['everything but subresources', all, attributes(pods), true],
    ['no subresource by a star alone', all, attributes(pods, { subresource: 'status' }), false],
    [
      'every subresource by two stars',
      { ...all, resources: ['*/*'] },
      attributes(pods, { subresource: 'status' }),
      true,
    ],
    ['the resource too by two stars', { ...all, resources: ['*/*'] }, attributes(pods), true],
    ['one subresource of all', { ...all, resources: ['*/status'] }, attributes(pods, { subresource: 'status' }), true],
    ['all subresources of one', { ...all, resources: ['pods/*'] }, attributes(pods, { subresource: 'exec' }), true],
    ['another resource', { ...all, resources: ['configmaps'] }, attributes(pods), false],
    ['another operation', { ...all, operations: ['DELETE'] }, attributes(pods), false],
    ['a deletion', { ...all, operations: ['DELETE'] }, attributes(pods, { verb: 'delete' }), true],
    [
      'an eviction as a creation',
      { ...all, operations: ['CREATE'], resources: ['pods/eviction'] },
      attributes(pods, { subresource: 'eviction' }),
      true,
    ],
    ['another group', { ...all, apiGroups: ['apps'] }, attributes(pods), false],
    ['another version', { ...all, apiVersions: ['v2'] }, attributes(pods), false],
    ['what is in namespaces', { ...all, scope: 'Namespaced' }, attributes(pods), true],
    ['nothing in namespaces', { ...all, scope: 'Cluster' }, attributes(pods), false],
    ['nodes as the cluster’s', { ...all, scope: 'Cluster' }, attributes(['', 'v1', 'nodes']), true],
    [
      'namespaces as the cluster’s',
      { ...all, scope: 'Cluster' },
      attributes(['', 'v1', 'namespaces'], { namespace: 'x' }),
      true,
    ],
    ['a name', { ...all, resourceNames: ['x'] }, attributes(pods), true],
    ['another name', { ...all, resourceNames: ['y'] }, attributes(pods), false],
  ];
  for (const [what, rule, request, wanted] of cases) {
    it(`match ${what}: ${wanted}`, () => assert.equal(ruleMatches(rule, request, request.served), wanted));
  }

  it('for another version of the same objects count, unless they must be exact', () => {
    const request = attributes(['autoscaling', 'v1', 'horizontalpodautoscalers']);
    const rule = { ...all, apiGroups: ['autoscaling'], apiVersions: ['v2'], resources: ['horizontalpodautoscalers'] };
    const equivalents = () => equivalentResources(table, request);
    assert.equal(matchingResource([rule], 'Equivalent', request, equivalents)?.resource.version, 'v2');
    assert.equal(matchingResource([rule], 'Exact', request, equivalents), undefined);
    assert.equal(
      matchingResource([{ ...rule, apiVersions: ['v1', 'v2'] }], 'Equivalent', request, equivalents)?.resource.version,
      'v1',
    );
  });
});

describe('selectors', () => {
  const namespaced = {
    get: () => ({ metadata: { name: 'a', labels: { team: 'blue' } } }),
    list: () => [],
  } as unknown as ObjectReader;
  const team = (name: string) => ({ matchLabels: { team: name } });

  it('select namespaces by their labels, and leave objects of the cluster alone', () => {
    assert.equal(namespaceMatches(team('blue'), attributes(pods), namespaced), true);
    assert.equal(namespaceMatches(team('red'), attributes(pods), namespaced), false);
    assert.equal(namespaceMatches(undefined, attributes(pods), namespaced), true);
    assert.equal(namespaceMatches(team('red'), attributes(['', 'v1', 'nodes']), namespaced), true);
    assert.equal(
      namespaceMatches(team('red'), attributes(['', 'v1', 'namespaces'], { labels: { team: 'red' } }), namespaced),
      true,
    );
  });

  it('select objects by what they are or were', () => {
    assert.equal(objectMatches(team('blue'), attributes(pods, { labels: { team: 'blue' } })), true);
    assert.equal(objectMatches(team('blue'), attributes(pods)), false);
    assert.equal(objectMatches({}, attributes(pods)), true);
    const previous = { kind: 'Pod', metadata: { name: 'x', labels: { team: 'blue' } } } as KubeObject;
    assert.equal(objectMatches(team('blue'), attributes(pods, { previous, verb: 'update' })), true);
  });
});

describe('match conditions', () => {
  const evaluate = (...expressions: string[]) => {
    const conditions = compileConditions(
      expressions.map((expression, index) => ({ name: `c${index}`, expression })),
      conditionNames,
    );
    return evaluateConditions(
      conditions,
      { object: { a: 1n }, oldObject: null, request: {}, authorizer: null },
      new Budget(),
    );
  };

  it('have to be met, each of them', () => {
    assert.deepEqual(evaluate('object.a == 1', 'oldObject == null'), { verdict: 'met' });
    assert.deepEqual(evaluate('object.a == 1', 'object.a == 2'), { verdict: 'unmet', name: 'c1' });
  });

  it('are unmet as soon as one is, whatever is wrong with others', () => {
    assert.deepEqual(evaluate('object.nope == 1', 'false'), { verdict: 'unmet', name: 'c1' });
    assert.deepEqual(evaluate('object.nope == 1', 'true'), {
      verdict: 'error',
      message: "expression 'object.nope == 1' resulted in error: no such key: nope",
    });
  });
});
