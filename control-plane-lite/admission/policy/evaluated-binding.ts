// One policy and binding about one request: the request in the policy's version, its parameters, its conditions.
// What is left to do for each parameter is the policy's own.
import type {
  MatchCondition,
  MatchResources,
  ParamKind,
  ParamRef,
} from '#kube/api/generated/admissionregistration-v1.ts';
import { namespaces } from '#kube/api/generated/resources.ts';
import type { KubeObject } from '#kube/api/resource.ts';
import type { Authorizer } from '../../authz/authorizer.ts';
import { Budget } from '../../cel/budget.ts';
import { toCelValue } from '../../cel/values.ts';
import type { Steps } from '../../registry/steps.ts';
import { type AdmissionAttributes, attributesIn } from '../matching/admission-attributes.ts';
import { type CompiledCondition, compileConditions, evaluateConditions } from '../matching/match-conditions.ts';
import { requestVariables } from '../matching/request-variables.ts';
import { bindingMatches, ConfigurationError, type MatchingDeps, paramsOf, policyResource } from './policy-matching.ts';
import { declarePolicyNames, lazyVariables, type PolicyNames } from './policy-names.ts';

export interface PolicyDeps extends MatchingDeps {
  authorizer: Authorizer;
}

interface PolicySpec {
  matchConstraints?: MatchResources | undefined;
  matchConditions?: MatchCondition[] | undefined;
  paramKind?: ParamKind | undefined;
  variables?: { name: string; expression: string }[] | undefined;
}

interface BindingSpec {
  matchResources?: MatchResources | undefined;
  paramRef?: ParamRef | undefined;
}

export interface CompiledMatching {
  names: PolicyNames;
  conditions: CompiledCondition[];
}

export function compileMatching({ variables, paramKind, matchConditions }: PolicySpec): CompiledMatching {
  const names = declarePolicyNames(variables, paramKind !== undefined);
  return { names, conditions: compileConditions(matchConditions, names.conditions) };
}

/** What a policy's own expressions are evaluated with. */
export interface Evaluation {
  kind: 'evaluation';
  shown: AdmissionAttributes;
  param: KubeObject | null;
  variables: Record<string, unknown>;
  budget: Budget;
}

/** A binding that could not be evaluated. */
export interface Failure {
  kind: 'failure';
  message: string;
}

function namespaceObject({ namespace }: AdmissionAttributes, { objects }: MatchingDeps): unknown {
  const found = namespace === '' ? undefined : objects.get(namespaces, '', namespace);
  if (found === undefined) return null;
  const { managedFields: _, ...metadata } = found.metadata;
  return toCelValue({ ...found, metadata });
}

/** One evaluation for each parameter; empty when the binding is not about the request. */
export function* evaluationsOf(
  policy: PolicySpec,
  compiled: CompiledMatching,
  binding: BindingSpec,
  attributes: AdmissionAttributes,
  deps: PolicyDeps,
): Steps<(Evaluation | Failure)[]> {
  const target = policyResource(policy.matchConstraints, attributes, deps);
  if (target === undefined || !bindingMatches(binding.matchResources, attributes, deps)) return [];
  try {
    const params = yield* paramsOf(policy.paramKind, binding.paramRef, attributes, deps);
    const shown = yield* attributesIn(attributes, target);
    const common = {
      ...requestVariables(shown, attributes, deps.authorizer),
      namespaceObject: namespaceObject(attributes, deps),
    };
    return params.flatMap((param): (Evaluation | Failure)[] => {
      const names =
        policy.paramKind === undefined ? common : { ...common, params: param === null ? null : toCelValue(param) };
      const budget = new Budget();
      const met = evaluateConditions(compiled.conditions, names, new Budget());
      if (met.verdict === 'unmet') return [];
      if (met.verdict === 'error') return [{ kind: 'failure', message: met.message }];
      const variables = { ...names, variables: lazyVariables(compiled.names.variables, names, budget) };
      return [{ kind: 'evaluation', shown, param, variables, budget }];
    });
  } catch (error) {
    if (error instanceof ConfigurationError)
      return [{ kind: 'failure', message: `failed to configure binding: ${error.message}` }];
    throw error;
  }
}
