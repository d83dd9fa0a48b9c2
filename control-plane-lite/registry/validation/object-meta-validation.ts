// Rules of metadata, and which name syntax a kind asks for.
import type { ObjectMeta } from '#kube/api/generated/meta-v1.ts';
import { dns1123LabelFaults, dns1123SubdomainFaults, pathSegmentFaults, qualifiedNameFaults } from '#kube/api/names.ts';
import type { KubeObject, Resource } from '#kube/api/resource.ts';
import {
  duplicateField,
  type FieldError,
  forbiddenField,
  invalidField,
  requiredField,
  tooLongField,
} from '#kube/errors/field-error.ts';
import { labels, required, syntax, unchanged } from './field-checks.ts';

const maxAnnotationBytes = 256 * 1024;

const labelNamed = new Set(['/Namespace', '/Service']);
const pathNamed = new Set([
  'rbac.authorization.k8s.io/Role',
  'rbac.authorization.k8s.io/ClusterRole',
  'rbac.authorization.k8s.io/RoleBinding',
  'rbac.authorization.k8s.io/ClusterRoleBinding',
  'certificates.k8s.io/CertificateSigningRequest',
  'flowcontrol.apiserver.k8s.io/FlowSchema',
  'flowcontrol.apiserver.k8s.io/PriorityLevelConfiguration',
  '/Event',
  'events.k8s.io/Event',
  'apiregistration.k8s.io/APIService',
]);
/** Names the server gives, or that are addresses. */
const freelyNamed = new Set(['networking.k8s.io/IPAddress', 'certificates.k8s.io/ClusterTrustBundle']);

function nameFaults(resource: Resource): (name: string) => string[] {
  const kind = `${resource.group}/${resource.kind}`;
  if (labelNamed.has(kind)) return dns1123LabelFaults;
  if (pathNamed.has(kind)) return pathSegmentFaults;
  return freelyNamed.has(kind) ? () => [] : dns1123SubdomainFaults;
}

function ownerReferences(references: NonNullable<ObjectMeta['ownerReferences']>): FieldError[] {
  const field = 'metadata.ownerReferences';
  const errors = references.flatMap((reference, i) => [
    ...(reference.apiVersion === ''
      ? [invalidField(`${field}[${i}].apiVersion`, '', 'version must not be empty')]
      : []),
    ...(reference.kind === '' ? [invalidField(`${field}[${i}].kind`, '', 'must not be empty')] : []),
    ...(reference.name === '' ? [invalidField(`${field}[${i}].name`, '', 'must not be empty')] : []),
    ...(reference.uid === '' ? [invalidField(`${field}[${i}].uid`, '', 'must not be empty')] : []),
  ]);
  const controllers = references.filter((reference) => reference.controller === true);
  if (controllers.length > 1) {
    const [first, second] = controllers;
    const text = `Only one reference can have Controller set to true. Found "true" in references for ${first?.kind}/${first?.name} and ${second?.kind}/${second?.name}`;
    errors.push(invalidField(field, references, text));
  }
  return errors;
}

function annotations(map: Record<string, string> | undefined): FieldError[] {
  const field = 'metadata.annotations';
  const errors = Object.keys(map ?? {}).flatMap((key) => syntax(field, key.toLowerCase(), qualifiedNameFaults));
  const bytes = Object.entries(map ?? {}).reduce((sum, [k, v]) => sum + Buffer.byteLength(k) + Buffer.byteLength(v), 0);
  if (bytes > maxAnnotationBytes) errors.push(tooLongField(field, maxAnnotationBytes));
  return errors;
}

function finalizers(list: string[] | undefined): FieldError[] {
  const seen = new Set<string>();
  const known = new Set(['orphan', 'foregroundDeletion']);
  return (list ?? []).flatMap((finalizer, i) => {
    const field = `metadata.finalizers[${i}]`;
    const repeated = seen.has(finalizer) ? [duplicateField(field, finalizer)] : [];
    seen.add(finalizer);
    if (known.has(finalizer)) return repeated;
    return [...repeated, ...syntax('metadata.finalizers', finalizer, qualifiedNameFaults)];
  });
}

/** Rules of metadata at creation and, but for names, at every update. */
export function validateObjectMeta(resource: Resource, { metadata }: KubeObject): FieldError[] {
  const errors: FieldError[] = [];
  const faults = nameFaults(resource);
  if (metadata.generateName) {
    // The server adds a suffix, so a trailing dash is fine here.
    errors.push(...syntax('metadata.generateName', metadata.generateName.replace(/-+$/, ''), faults));
  }
  if (!metadata.name) errors.push(requiredField('metadata.name', 'name or generateName is required'));
  else errors.push(...syntax('metadata.name', metadata.name, faults));
  if (resource.namespaced) errors.push(...required('metadata.namespace', metadata.namespace));
  else if (metadata.namespace) errors.push(forbiddenField('metadata.namespace', 'not allowed on this type'));
  errors.push(...nonNegativeGeneration(metadata));
  errors.push(...labels('metadata.labels', metadata.labels), ...annotations(metadata.annotations));
  errors.push(...ownerReferences(metadata.ownerReferences ?? []), ...finalizers(metadata.finalizers));
  return errors;
}

function nonNegativeGeneration({ generation }: ObjectMeta): FieldError[] {
  if (generation === undefined || generation >= 0) return [];
  return [invalidField('metadata.generation', generation, 'must be greater than or equal to 0')];
}

/** What an update may not change in metadata. */
export function validateObjectMetaUpdate({ metadata }: KubeObject, { metadata: previous }: KubeObject): FieldError[] {
  const errors: FieldError[] = [];
  if (metadata.generation !== undefined && previous.generation !== undefined) {
    if (metadata.generation < previous.generation) {
      errors.push(invalidField('metadata.generation', metadata.generation, 'must not be decremented'));
    }
  }
  const added = (metadata.finalizers ?? []).filter((finalizer) => !previous.finalizers?.includes(finalizer));
  if (previous.deletionTimestamp !== undefined && added.length > 0) {
    const text = `no new finalizers can be added if the object is being deleted, found new finalizers []string{${added.map((name) => JSON.stringify(name)).join(', ')}}`;
    errors.push(forbiddenField('metadata.finalizers', text));
  }
  errors.push(
    ...unchanged('metadata.name', metadata.name, previous.name),
    ...unchanged('metadata.namespace', metadata.namespace, previous.namespace),
    ...unchanged('metadata.uid', metadata.uid, previous.uid),
    ...unchanged('metadata.creationTimestamp', metadata.creationTimestamp, previous.creationTimestamp),
  );
  errors.push(...labels('metadata.labels', metadata.labels), ...annotations(metadata.annotations));
  errors.push(...ownerReferences(metadata.ownerReferences ?? []), ...finalizers(metadata.finalizers));
  return errors;
}
