// The policies of a kind with their bindings, compiled, in the order of their names; kept until one of them changes.
import type {
  MutatingAdmissionPolicy,
  MutatingAdmissionPolicyBinding,
  ValidatingAdmissionPolicy,
  ValidatingAdmissionPolicyBinding,
} from '#kube/api/generated/admissionregistration-v1.ts';
import type { KubeObject, Resource } from '#kube/api/resource.ts';
import type { Registry } from '../../registry/registry.ts';

type Policy = KubeObject & (ValidatingAdmissionPolicy | MutatingAdmissionPolicy);
type Binding = KubeObject & (ValidatingAdmissionPolicyBinding | MutatingAdmissionPolicyBinding);

export interface BoundPolicy<P, B, C> {
  policy: P;
  bindings: B[];
  compiled: C;
}

/** Answers with the policies that are bound, as they are now. Policies of one generation are compiled once. */
export function followPolicies<P extends Policy, B extends Binding, C>(
  { cache, table, objects }: Pick<Registry, 'cache' | 'table' | 'objects'>,
  resources: { policies: Resource<P>; bindings: Resource<B> },
  compile: (policy: P) => C,
): () => readonly BoundPolicy<P, B, C>[] {
  let known: readonly BoundPolicy<P, B, C>[] | undefined;
  let compiled = new WeakMap<P, C>();
  const forget = () => {
    known = undefined;
  };
  cache.onChange(table.get(resources.policies).storagePrefix, forget);
  cache.onChange(table.get(resources.bindings).storagePrefix, forget);
  const compileOnce = (policy: P): C => {
    const found = compiled.get(policy);
    if (found !== undefined) return found;
    const made = compile(policy);
    compiled = compiled.set(policy, made);
    return made;
  };
  const byName = <T extends KubeObject>(list: readonly T[]) =>
    list.toSorted((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
  return () => {
    if (known !== undefined) return known;
    const bindings = Map.groupBy(byName(objects.list(resources.bindings)), ({ spec }) => spec.policyName ?? '');
    known = byName(objects.list(resources.policies)).flatMap((policy) => {
      const bound = bindings.get(policy.metadata.name);
      return bound === undefined ? [] : [{ policy, bindings: bound, compiled: compileOnce(policy) }];
    });
    return known;
  };
}
