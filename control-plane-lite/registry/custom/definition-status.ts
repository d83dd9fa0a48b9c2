// What the server says of definitions: whether their names are free, whether they are served, what is left of them.
// Pure. Source of the rules: the reference's apiextensions-apiserver/pkg/controller/status and /apiapproval.
import type { CustomResourceDefinition } from '#kube/api/generated/apiextensions-v1.ts';
import { timestamp } from '../object-meta.ts';
import type { Definition } from './custom-definition.ts';

type Status = NonNullable<CustomResourceDefinition['status']>;
type Condition = NonNullable<Status['conditions']>[number];
type Names = CustomResourceDefinition['spec']['names'];

/** Names that a resource is found by, in its group. */
interface TakenNames {
  resources: ReadonlySet<string>;
  kinds: ReadonlySet<string>;
}

const hasCondition = ({ status }: Definition, type: string): boolean =>
  (status?.conditions ?? []).some((condition) => condition.type === type && condition.status === 'True');

/** Whether objects of the definition are served. */
export const isEstablished = (definition: Definition): boolean => hasCondition(definition, 'Established');

/** The conditions with one set; its time moves only when its status does. */
export function withCondition(
  conditions: readonly Condition[],
  wanted: Omit<Condition, 'lastTransitionTime'>,
  nowMs: number,
): Condition[] {
  const previous = conditions.find(({ type }) => type === wanted.type);
  const lastTransitionTime =
    previous !== undefined && previous.status === wanted.status ? previous.lastTransitionTime : timestamp(nowMs);
  const condition = { lastTransitionTime, ...wanted } as Condition;
  return previous === undefined
    ? [...conditions, condition]
    : conditions.map((each) => (each.type === wanted.type ? condition : each));
}

function takenBy(definitions: readonly Definition[], self: Definition): TakenNames {
  const resources = new Set<string>();
  const kinds = new Set<string>();
  for (const { metadata, spec, status } of definitions) {
    if (spec.group !== self.spec.group || metadata.uid === self.metadata.uid) continue;
    const { plural, singular, shortNames = [], kind, listKind } = status?.acceptedNames ?? { plural: '', kind: '' };
    for (const name of [plural, singular, ...shortNames]) if ((name ?? '') !== '') resources.add(name ?? '');
    for (const name of [kind, listKind]) if ((name ?? '') !== '') kinds.add(name ?? '');
  }
  return { resources, kinds };
}

/** The names that a definition gets, and the last reason why it does not get all it asks for. */
function acceptNames(
  definition: Definition,
  taken: TakenNames,
): { names: Names; conflict: { reason: string; message: string } | undefined } {
  const wanted = definition.spec.names;
  const accepted: Names = { ...(definition.status?.acceptedNames ?? { plural: '', kind: '' }) };
  let conflict: { reason: string; message: string } | undefined;
  const refuse = (reason: string, name: string) => {
    conflict = { reason, message: `${JSON.stringify(name)} is already in use` };
  };
  const isFree = (name: string, among: ReadonlySet<string>) => name === '' || !among.has(name);
  if (isFree(wanted.plural, taken.resources)) accepted.plural = wanted.plural;
  else refuse('PluralConflict', wanted.plural);
  const singular = wanted.singular ?? '';
  if (isFree(singular, taken.resources)) accepted.singular = singular;
  else refuse('SingularConflict', singular);
  const short = (wanted.shortNames ?? []).find((name) => !isFree(name, taken.resources));
  if (short === undefined) accepted.shortNames = wanted.shortNames;
  else refuse('ShortNamesConflict', short);
  if (isFree(wanted.kind, taken.kinds)) accepted.kind = wanted.kind;
  else refuse('KindConflict', wanted.kind);
  const listKind = wanted.listKind ?? '';
  if (isFree(listKind, taken.kinds)) accepted.listKind = listKind;
  else refuse('ListKindConflict', listKind);
  accepted.categories = wanted.categories;
  return {
    names: Object.fromEntries(Object.entries(accepted).filter(([, value]) => value !== undefined)) as unknown as Names,
    conflict,
  };
}

function approvalCondition({ metadata, spec }: Definition): Omit<Condition, 'lastTransitionTime'> | undefined {
  if (!/(^|\.)(k8s|kubernetes)\.io$/.test(spec.group)) return undefined;
  const name = 'api-approved.kubernetes.io';
  const value = metadata.annotations?.[name];
  const type = 'KubernetesAPIApprovalPolicyConformant';
  if (value === undefined) {
    const message = `protected groups must have approval annotation ${JSON.stringify(name)}, see https://github.com/kubernetes/enhancements/pull/1111`;
    return { type, status: 'False', reason: 'MissingAnnotation', message };
  }
  const isLink = URL.canParse(value);
  if (value.startsWith('unapproved')) {
    return { type, status: 'False', reason: 'UnapprovedAnnotation', message: `not approved: ${JSON.stringify(value)}` };
  }
  return isLink
    ? { type, status: 'True', reason: 'ApprovedAnnotation', message: `approved in ${value}` }
    : {
        type,
        status: 'False',
        reason: 'InvalidAnnotation',
        message: `protected groups must have approval annotation ${JSON.stringify(name)} with either a URL or a reason starting with "unapproved", see https://github.com/kubernetes/enhancements/pull/1111`,
      };
}

/** The status of a definition among all others. */
export function computeDefinitionStatus(definition: Definition, all: readonly Definition[], nowMs: number): Status {
  const { names, conflict } = acceptNames(definition, takenBy(all, definition));
  let conditions = definition.status?.conditions ?? [];
  const set = (wanted: Omit<Condition, 'lastTransitionTime'>) => {
    conditions = withCondition(conditions, wanted, nowMs);
  };
  set(
    conflict === undefined
      ? { type: 'NamesAccepted', status: 'True', reason: 'NoConflicts', message: 'no conflicts found' }
      : { type: 'NamesAccepted', status: 'False', ...conflict },
  );
  // What was served once stays served: objects may be there.
  if (!isEstablished(definition)) {
    set(
      conflict === undefined
        ? {
            type: 'Established',
            status: 'True',
            reason: 'InitialNamesAccepted',
            message: 'the initial names have been accepted',
          }
        : { type: 'Established', status: 'False', reason: 'NotAccepted', message: 'not all names are accepted' },
    );
  }
  const approval = approvalCondition(definition);
  if (approval !== undefined) set(approval);
  const stored = definition.spec.versions.filter(({ storage }) => storage).map(({ name }) => name);
  const storedVersions = definition.status?.storedVersions ?? [];
  return {
    ...definition.status,
    conditions,
    acceptedNames: names,
    storedVersions: storedVersions.length === 0 ? stored : storedVersions,
  };
}
