// ValidatingAdmissionPolicy: rules in the expression language that refuse a request, warn of it or note it.
// Source of the rules: the reference's admission/plugin/policy/validating.
import type {
  ValidatingAdmissionPolicy,
  ValidatingAdmissionPolicyBinding,
} from '#kube/api/generated/admissionregistration-v1.ts';
import { validatingadmissionpolicies, validatingadmissionpolicybindings } from '#kube/api/generated/resources.ts';
import { CelError, type Compilation, compileExpression } from '../../cel/compile-expression.ts';
import type { Steps } from '../../registry/steps.ts';
import { waitFor } from '../../registry/steps.ts';
import { attributesOfRequest, isExempt } from '../matching/admission-attributes.ts';
import type { AdmissionPlugin, AdmissionRequest } from '../plugin.ts';
import {
  type CompiledMatching,
  compileMatching,
  type Evaluation,
  evaluationsOf,
  type PolicyDeps,
} from './evaluated-binding.ts';
import { deniedByPolicy } from './policy-failures.ts';
import { type BoundPolicy, followPolicies } from './policy-list.ts';

interface CompiledPolicy {
  matching: CompiledMatching;
  validations: {
    expression: string;
    compiled: Compilation;
    message: string;
    messageExpression: Compilation | undefined;
    reason: string | undefined;
  }[];
  annotations: { key: string; compiled: Compilation }[];
}

type Bound = BoundPolicy<ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding, CompiledPolicy>;

/** Something that speaks against the request. */
interface Decision {
  policy: string;
  binding: string;
  message: string;
  reason: string | undefined;
  actions: readonly string[];
  expressionIndex: number;
}

const longestMessage = 5120;

function compile({ spec }: ValidatingAdmissionPolicy): CompiledPolicy {
  const matching = compileMatching(spec);
  const names = matching.names.all;
  return {
    matching,
    validations: (spec.validations ?? []).map(({ expression, message = '', messageExpression = '', reason }) => ({
      expression,
      compiled: compileExpression(expression, names, ['bool']),
      message,
      messageExpression: messageExpression === '' ? undefined : compileExpression(messageExpression, names, ['string']),
      reason,
    })),
    annotations: (spec.auditAnnotations ?? []).map(({ key, valueExpression }) => ({
      key,
      compiled: compileExpression(valueExpression, names, ['string', 'null']),
    })),
  };
}

const wordsOf = (error: unknown): string => {
  if (error instanceof CelError) return error.message;
  throw error;
};

function messageOf(validation: CompiledPolicy['validations'][number], { variables, budget }: Evaluation): string {
  const { messageExpression, message, expression } = validation;
  if (messageExpression?.ok === true) {
    try {
      const text = String(messageExpression.expression.evaluate(variables, budget)).trim();
      if (text !== '' && !text.includes('\n') && text.length <= longestMessage) return text;
    } catch (error) {
      // A message that cannot be made gives way to the fixed one.
      wordsOf(error);
    }
  }
  return message.trim() === '' ? `failed expression: ${expression.trim()}` : message.trim();
}

/** What each rule says of the request: undefined where it holds. */
function judge(
  compiled: CompiledPolicy,
  evaluation: Evaluation,
  failsClosed: boolean,
): ({ message: string; reason: string | undefined } | undefined)[] {
  return compiled.validations.map((validation) => {
    const failed = (message: string) => (failsClosed ? { message, reason: undefined } : undefined);
    if (!validation.compiled.ok) return failed(`compilation error: ${validation.compiled.message}`);
    try {
      const holds = validation.compiled.expression.evaluate(evaluation.variables, evaluation.budget) === true;
      return holds ? undefined : { message: messageOf(validation, evaluation), reason: validation.reason };
    } catch (error) {
      return failed(`expression '${validation.expression}' resulted in error: ${wordsOf(error)}`);
    }
  });
}

/** Values to be noted beside the request; those of several bindings are joined. */
function noteAnnotations(
  compiled: CompiledPolicy,
  evaluation: Evaluation,
  policy: string,
  notes: Map<string, Set<string>>,
): string[] {
  return compiled.annotations.flatMap(({ key, compiled: each }) => {
    if (!each.ok) return [each.message];
    try {
      const value = each.expression.evaluate(evaluation.variables, evaluation.budget);
      if (typeof value !== 'string' || value.trim() === '') return [];
      const name = `${policy}/${key}`;
      notes.set(name, (notes.get(name) ?? new Set()).add(value.trim()));
      return [];
    } catch (error) {
      return [`expression '${each.expression.source}' resulted in error: ${wordsOf(error)}`];
    }
  });
}

function* decide(bound: readonly Bound[], request: AdmissionRequest, deps: PolicyDeps): Steps<void> {
  const attributes = attributesOfRequest(request);
  const decisions: Decision[] = [];
  const notes = new Map<string, Set<string>>();
  for (const { policy, bindings, compiled } of bound) {
    const failsClosed = policy.spec.failurePolicy !== 'Ignore';
    for (const binding of bindings) {
      const named = {
        policy: policy.metadata.name,
        binding: binding.metadata.name,
        actions: binding.spec.validationActions ?? [],
      };
      const against = (message: string, reason: string | undefined, expressionIndex: number) =>
        decisions.push({ ...named, message, reason, expressionIndex });
      for (const evaluation of yield* evaluationsOf(policy.spec, compiled.matching, binding.spec, attributes, deps)) {
        if (evaluation.kind === 'failure') {
          if (failsClosed) against(evaluation.message, undefined, 0);
          continue;
        }
        for (const [index, verdict] of judge(compiled, evaluation, failsClosed).entries()) {
          if (verdict !== undefined) against(verdict.message, verdict.reason, index);
        }
        for (const message of noteAnnotations(compiled, evaluation, named.policy, notes))
          if (failsClosed) against(message, undefined, 0);
      }
    }
  }
  for (const [key, values] of notes) request.context.annotate?.(key, [...values].join(', '));
  carryOut(decisions, request);
}

function carryOut(decisions: readonly Decision[], request: AdmissionRequest): void {
  const { context } = request;
  const noted: object[] = [];
  for (const { policy, binding, message, actions, expressionIndex } of decisions) {
    if (actions.includes('Warn')) {
      context.warn(`Validation failed for ValidatingAdmissionPolicy '${policy}' with binding '${binding}': ${message}`);
    }
    if (actions.includes('Audit'))
      noted.push({ message, policy, binding, expressionIndex, validationActions: actions });
  }
  if (noted.length > 0)
    context.annotate?.('validation.policy.admission.k8s.io/validation_failure', JSON.stringify(noted));
  const denied = decisions.find(({ actions }) => actions.includes('Deny'));
  if (denied === undefined) return;
  const { policy, binding, message, reason } = denied;
  const text = `ValidatingAdmissionPolicy '${policy}' with binding '${binding}' denied request: ${message}`;
  throw deniedByPolicy(attributesOfRequest(request), text, reason);
}

export function createValidatingPolicies(deps: PolicyDeps): AdmissionPlugin {
  const resources = { policies: validatingadmissionpolicies, bindings: validatingadmissionpolicybindings };
  const policies = followPolicies(deps, resources, compile);
  return {
    name: 'ValidatingAdmissionPolicy',
    validateByAsking: (request) => {
      const bound = policies();
      return bound.length === 0 || isExempt(request) ? undefined : waitFor(decide(bound, request, deps));
    },
  };
}
