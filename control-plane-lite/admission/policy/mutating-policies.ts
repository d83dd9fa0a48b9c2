// MutatingAdmissionPolicy: changes in the expression language, as applied configurations or JSON patches.
// Source of the rules: the reference's admission/plugin/policy/mutating.
import type {
  MutatingAdmissionPolicy,
  MutatingAdmissionPolicyBinding,
} from '#kube/api/generated/admissionregistration-v1.ts';
import { mutatingadmissionpolicies, mutatingadmissionpolicybindings } from '#kube/api/generated/resources.ts';
import type { KubeObject } from '#kube/api/resource.ts';
import { StatusError } from '#kube/errors/status-error.ts';
import { CelError, type Compilation, compileExpression } from '../../cel/compile-expression.ts';
import { JsonPatchOperation } from '../../cel/object-literal.ts';
import { fromCelValue } from '../../cel/values.ts';
import { applyJsonPatch } from '../../patch/json-patch.ts';
import { decodeObject } from '../../registry/decode-object.ts';
import { mergeValues } from '../../registry/managed-fields/merge.ts';
import type { Registry } from '../../registry/registry.ts';
import { type Steps, waitFor } from '../../registry/steps.ts';
import { toStored } from '../../registry/stored-version.ts';
import { attributesOfRequest, isExempt, objectBack } from '../matching/admission-attributes.ts';
import type { AdmissionPlugin, AdmissionRequest } from '../plugin.ts';
import { noteRun, type PluginRuns, type Reinvocation, runsOf } from '../reinvocation.ts';
import { replaceContents } from '../replace-contents.ts';
import {
  type CompiledMatching,
  compileMatching,
  type Evaluation,
  evaluationsOf,
  type PolicyDeps,
} from './evaluated-binding.ts';
import { deniedByPolicy } from './policy-failures.ts';
import { type BoundPolicy, followPolicies } from './policy-list.ts';

const name = 'MutatingAdmissionPolicy';

interface CompiledMutation {
  type: 'apply' | 'json';
  compiled: Compilation;
}

interface CompiledPolicy {
  matching: CompiledMatching;
  mutations: CompiledMutation[];
}

type Bound = BoundPolicy<MutatingAdmissionPolicy, MutatingAdmissionPolicyBinding, CompiledPolicy>;

export type MutatingPolicyDeps = PolicyDeps & Pick<Registry, 'schema' | 'rules'>;

function compile({ spec }: MutatingAdmissionPolicy): CompiledPolicy {
  const matching = compileMatching(spec);
  return {
    matching,
    mutations: (spec.mutations ?? []).map(({ patchType, applyConfiguration, jsonPatch }) =>
      patchType === 'JSONPatch'
        ? { type: 'json', compiled: compileExpression(jsonPatch?.expression ?? '', matching.names.all, ['list']) }
        : { type: 'apply', compiled: compileExpression(applyConfiguration?.expression ?? '', matching.names.all) },
    ),
  };
}

/** A change that cannot be made. */
class MutationError extends Error {}

function patchOf(value: unknown): unknown[] {
  if (!Array.isArray(value))
    throw new MutationError('type mismatch: JSONPatchType.expression should evaluate to array');
  return value.map((operation) => {
    if (operation instanceof JsonPatchOperation) return fromCelValue(operation);
    throw new MutationError('type mismatch: JSONPatchType.expression should evaluate to array of JSONPatch');
  });
}

function mutate(
  object: KubeObject,
  { type, compiled }: CompiledMutation,
  evaluation: Evaluation,
  { schema }: MutatingPolicyDeps,
): KubeObject {
  if (!compiled.ok) throw new MutationError(`compilation error: ${compiled.message}`);
  const value = compiled.expression.evaluate(evaluation.variables, evaluation.budget);
  const { kind } = evaluation.shown;
  const result =
    type === 'json'
      ? (applyJsonPatch(object, patchOf(value)) as KubeObject)
      : (mergeValues(
          object,
          fromCelValue(value),
          schema.knows(kind) ? schema.typeOf(kind) : { kind: 'any' },
        ) as KubeObject);
  if (schema.knows(kind)) decodeObject(result as unknown as Record<string, unknown>, schema.typeOf(kind));
  return result;
}

function wordsOf(error: unknown): string {
  if (error instanceof CelError || error instanceof MutationError) return error.message;
  if (error instanceof StatusError) return error.status.details?.causes?.[0]?.message ?? error.message;
  throw error;
}

/** One binding with one parameter: all the policy's mutations, each seeing what those before it changed. */
function* applyOne(
  { policy, compiled }: Bound,
  binding: MutatingAdmissionPolicyBinding,
  index: number,
  request: AdmissionRequest,
  deps: MutatingPolicyDeps,
): Steps<boolean> {
  const { object } = request;
  if (object === undefined) return false;
  const before = JSON.stringify(object);
  for (const mutation of compiled.mutations) {
    const attributes = attributesOfRequest(request);
    const evaluations = yield* evaluationsOf(policy.spec, compiled.matching, binding.spec, attributes, deps);
    const evaluation = evaluations[index];
    if (evaluation === undefined) continue;
    try {
      if (evaluation.kind === 'failure') throw new MutationError(evaluation.message);
      const { shown } = evaluation;
      if (shown.object === undefined) continue;
      const changed = mutate(shown.object, mutation, evaluation, deps);
      const back = yield* objectBack(changed, shown.served, attributes.served);
      replaceContents(object, request.subresource === '' ? toStored(attributes.served, back) : back);
      if (request.subresource === '') deps.rules.applyDefaults(request.served.stored, object);
    } catch (error) {
      const why = wordsOf(error);
      if (policy.spec.failurePolicy === 'Ignore') continue;
      const text = `policy '${policy.metadata.name}' with binding '${binding.metadata.name}' denied request: ${why}`;
      throw deniedByPolicy(attributes, text);
    }
  }
  return JSON.stringify(object) !== before;
}

function* applyAll(
  bound: readonly Bound[],
  request: AdmissionRequest,
  runs: PluginRuns,
  reinvocation: Reinvocation,
  deps: MutatingPolicyDeps,
): Steps<void> {
  for (const each of bound) {
    const { policy, bindings, compiled } = each;
    for (const binding of bindings) {
      const attributes = attributesOfRequest(request);
      const { length } = yield* evaluationsOf(policy.spec, compiled.matching, binding.spec, attributes, deps);
      for (let index = 0; index < length; index += 1) {
        const id = `${policy.metadata.uid}/${binding.metadata.uid}/${index}`;
        if (reinvocation.isSecondRun && !runs.again.delete(id)) continue;
        const isChanged = yield* applyOne(each, binding, index, request, deps);
        noteRun(reinvocation, runs, id, { isChanged, runsAgain: policy.spec.reinvocationPolicy === 'IfNeeded' });
      }
    }
  }
  runs.lastOutput = JSON.stringify(request.object);
}

export function createMutatingPolicies(deps: MutatingPolicyDeps): AdmissionPlugin {
  const resources = { policies: mutatingadmissionpolicies, bindings: mutatingadmissionpolicybindings };
  const policies = followPolicies(deps, resources, compile);
  return {
    name,
    mutate: (request) => {
      const bound = policies();
      const { reinvocation } = request;
      if (bound.length === 0 || reinvocation === undefined || isExempt(request)) return undefined;
      const runs = runsOf(reinvocation, name, request.object);
      if (reinvocation.isSecondRun && runs.again.size === 0) return undefined;
      return waitFor(applyAll(bound, request, runs, reinvocation, deps));
    },
  };
}
