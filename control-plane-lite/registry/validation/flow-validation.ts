// Rules of FlowSchemas and PriorityLevelConfigurations.
import type {
  FlowSchema,
  LimitedPriorityLevelConfiguration,
  NonResourcePolicyRule,
  PolicyRulesWithSubjects,
  PriorityLevelConfiguration,
  QueuingConfiguration,
  ResourcePolicyRule,
  Subject,
} from '#kube/api/generated/flowcontrol-v1.ts';
import { dns1123LabelFaults, dns1123SubdomainFaults } from '#kube/api/names.ts';
import {
  type FieldError,
  forbiddenField,
  invalidField,
  requiredField,
  unsupportedField,
} from '#kube/errors/field-error.ts';
import { mandatoryFlowSchemas, mandatoryPriorityLevels } from '../mandatory-flows.ts';
import { required, sameValue, syntax } from './field-checks.ts';

const all = '*';
const exempt = 'exempt';
const highestPrecedence = 10_000;
const maxQueues = 10_000_000;
/** Bits of the hash that deals hands of queues. */
const maxHashBits = 60;
const verbs = ['create', 'delete', 'deletecollection', 'get', 'list', 'patch', 'proxy', 'update', 'watch'];

function verbErrors(at: string, given: readonly string[]): FieldError[] {
  if (given.length === 0) return [requiredField(at, 'verbs must contain at least one value')];
  if (given.includes(all)) return aloneErrors(at, given, 'verbs');
  return given.every((verb) => verbs.includes(verb)) ? [] : [unsupportedField(at, given, verbs)];
}

/** A star stands alone. */
function aloneErrors(at: string, given: readonly string[], what: string): FieldError[] {
  if (!given.includes(all) || given.length === 1) return [];
  return [invalidField(at, given, `if '*' is present, must not specify other ${what}`)];
}

function pathErrors(at: string, path: string): FieldError[] {
  const wrong = (detail: string) => [invalidField(at, path, detail)];
  if (path === '') return wrong('must not be empty');
  if (path === '/') return [];
  if (!path.startsWith('/')) return wrong('must start with slash');
  if (path.includes(' ')) return wrong('must not contain white-space');
  if (path.includes('//')) return wrong('must not contain double slash');
  const stars = path.split(all).length - 1;
  return stars > 1 || (stars === 1 && !path.endsWith('/*')) ? wrong('wildcard can only do suffix matching') : [];
}

function nonResourceErrors(at: string, rule: NonResourcePolicyRule): FieldError[] {
  const urls = rule.nonResourceURLs ?? [];
  const where = `${at}.nonResourceURLs`;
  const errors = verbErrors(`${at}.verbs`, rule.verbs ?? []);
  if (urls.length === 0) return [...errors, requiredField(where, 'nonResourceURLs must contain at least one value')];
  if (urls.includes(all)) return [...errors, ...aloneErrors(where, urls, 'non-resource URLs')];
  return [...errors, ...urls.flatMap((path, index) => pathErrors(`${where}[${index}]`, path))];
}

function namespaceErrors(at: string, { namespaces = [], clusterScope }: ResourcePolicyRule): FieldError[] {
  if (namespaces.length === 0 && clusterScope !== true) {
    const detail = 'resource rules that are not cluster scoped must supply at least one namespace';
    return [requiredField(at, detail)];
  }
  if (namespaces.includes(all)) return aloneErrors(at, namespaces, 'namespaces');
  return namespaces.flatMap((namespace, index) =>
    dns1123LabelFaults(namespace).map((fault) =>
      invalidField(`${at}[${index}]`, namespace, `each member of this list must be '*' or a DNS-1123 label; ${fault}`),
    ),
  );
}

function resourceErrors(at: string, rule: ResourcePolicyRule): FieldError[] {
  const [groups, resources] = [rule.apiGroups ?? [], rule.resources ?? []];
  return [
    ...verbErrors(`${at}.verbs`, rule.verbs ?? []),
    ...(groups.length === 0
      ? [requiredField(`${at}.apiGroups`, 'resource rules must supply at least one api group')]
      : aloneErrors(`${at}.apiGroups`, groups, 'api groups')),
    ...(resources.length === 0
      ? [requiredField(`${at}.resources`, 'resource rules must supply at least one resource')]
      : aloneErrors(`${at}.resources`, resources, 'resources')),
    ...namespaceErrors(`${at}.namespaces`, rule),
  ];
}

const kinds = { ServiceAccount: 'serviceAccount', User: 'user', Group: 'group' } as const;
const isKind = (kind: string): kind is keyof typeof kinds => Object.hasOwn(kinds, kind);

function subjectErrors(at: string, subject: Subject): FieldError[] {
  const { kind } = subject;
  if (!isKind(kind)) return [unsupportedField(`${at}.kind`, kind, ['Group', 'ServiceAccount', 'User'])];
  const field = kinds[kind];
  const own = subject[field];
  const others = Object.entries(kinds).filter(([name, other]) => name !== kind && subject[other] !== undefined);
  const forbidden = others.map(([name, other]) =>
    forbiddenField(`${at}.${other}`, `${other} is forbidden when subject kind is not '${name}'`),
  );
  if (own === undefined) {
    return [requiredField(`${at}.${field}`, `${field} is required when subject kind is '${kind}'`), ...forbidden];
  }
  return [...required(`${at}.${field}.name`, own.name), ...accountErrors(`${at}.${field}`, subject), ...forbidden];
}

function accountErrors(at: string, { serviceAccount, kind }: Subject): FieldError[] {
  if (kind !== 'ServiceAccount' || serviceAccount === undefined) return [];
  const { name = '', namespace = '' } = serviceAccount;
  return [
    ...(name === '' || name === all ? [] : syntax(`${at}.name`, name, dns1123SubdomainFaults)),
    ...(namespace === ''
      ? [requiredField(`${at}.namespace`, 'must specify namespace for service account')]
      : syntax(`${at}.namespace`, namespace, dns1123LabelFaults)),
  ];
}

function ruleErrors(at: string, rule: PolicyRulesWithSubjects): FieldError[] {
  const { subjects = [], resourceRules = [], nonResourceRules = [] } = rule;
  return [
    ...(subjects.length === 0 ? [requiredField(`${at}.subjects`, 'subjects must contain at least one value')] : []),
    ...subjects.flatMap((subject, index) => subjectErrors(`${at}.subjects[${index}]`, subject)),
    ...(resourceRules.length + nonResourceRules.length === 0
      ? [requiredField(at, 'at least one of resourceRules and nonResourceRules has to be non-empty')]
      : []),
    ...resourceRules.flatMap((each, index) => resourceErrors(`${at}.resourceRules[${index}]`, each)),
    ...nonResourceRules.flatMap((each, index) => nonResourceErrors(`${at}.nonResourceRules[${index}]`, each)),
  ];
}

function precedenceErrors(name: string, precedence: number): FieldError[] {
  const wrong = (detail: string) => invalidField('spec.matchingPrecedence', precedence, detail);
  return [
    ...(precedence <= 0 ? [wrong('must be a positive value')] : []),
    ...(precedence > highestPrecedence ? [wrong(`must not be greater than ${highestPrecedence}`)] : []),
    ...(precedence === 1 && name !== exempt
      ? [wrong("only the schema named 'exempt' may have matchingPrecedence 1")]
      : []),
  ];
}

export function validateFlowSchema({ metadata, spec }: FlowSchema): FieldError[] {
  const { name } = metadata;
  const level = spec.priorityLevelConfiguration?.name ?? '';
  const method = spec.distinguisherMethod;
  const fixed = mandatoryFlowSchemas.find((each) => each.metadata.name === name);
  return [
    ...precedenceErrors(name, spec.matchingPrecedence ?? 0),
    ...(method !== undefined && method.type !== 'ByUser' && method.type !== 'ByNamespace'
      ? [unsupportedField('spec.distinguisherMethod.type', method, ['ByNamespace', 'ByUser'])]
      : []),
    ...(level === ''
      ? [requiredField('spec.priorityLevelConfiguration.name', 'must reference a priority level')]
      : syntax('spec.priorityLevelConfiguration.name', level, dns1123SubdomainFaults)),
    ...(spec.rules ?? []).flatMap((rule, index) => ruleErrors(`spec.rules[${index}]`, rule)),
    ...(fixed !== undefined && !sameValue(spec, fixed.spec)
      ? [invalidField('spec', spec, `spec of '${name}' must equal the fixed value`)]
      : []),
  ];
}

function queuingErrors(
  at: string,
  { queues = 0, handSize = 0, queueLengthLimit = 0 }: QueuingConfiguration,
): FieldError[] {
  const wrong = (field: string, value: number, detail: string) => [invalidField(`${at}.${field}`, value, detail)];
  const positive = 'must be positive';
  const bits = Math.ceil(Math.log2(queues) * handSize);
  const handErrors = () => {
    if (handSize <= 0) return wrong('handSize', handSize, positive);
    if (handSize > queues) return wrong('handSize', handSize, `should not be greater than queues (${queues})`);
    if (bits <= maxHashBits) return [];
    const detail = `required entropy bits of deckSize ${queues} and handSize ${handSize} should not be greater than ${maxHashBits}`;
    return wrong('handSize', handSize, detail);
  };
  return [
    ...(queueLengthLimit <= 0 ? wrong('queueLengthLimit', queueLengthLimit, positive) : []),
    ...(queues <= 0 ? wrong('queues', queues, positive) : []),
    ...(queues > maxQueues ? wrong('queues', queues, `must not be greater than ${maxQueues}`) : []),
    ...handErrors(),
  ];
}

function limitedErrors(limited: LimitedPriorityLevelConfiguration): FieldError[] {
  const at = 'spec.limited';
  const { nominalConcurrencyShares: shares = 0, lendablePercent: lendable = 0, borrowingLimitPercent: limit } = limited;
  const { type = '', queuing } = limited.limitResponse ?? {};
  const response = () => {
    const where = `${at}.limitResponse`;
    if (type !== 'Queue' && type !== 'Reject') return [unsupportedField(`${where}.type`, type, ['Queue', 'Reject'])];
    if (type === 'Queue') {
      return queuing === undefined
        ? [requiredField(`${where}.queuing`, 'must not be empty if limited.limitResponse.type is Limited')]
        : queuingErrors(`${where}.queuing`, queuing);
    }
    return queuing === undefined
      ? []
      : [forbiddenField(`${where}.queuing`, 'must be nil if limited.limitResponse.type is not Limited')];
  };
  return [
    ...(shares < 0 ? [invalidField(`${at}.nominalConcurrencyShares`, shares, 'must be a non-negative integer')] : []),
    ...(lendable < 0 || lendable > 100
      ? [invalidField(`${at}.lendablePercent`, lendable, 'must be between 0 and 100, inclusive')]
      : []),
    ...(limit !== undefined && limit < 0
      ? [invalidField(`${at}.borrowingLimitPercent`, limit, 'if specified, must be a non-negative integer')]
      : []),
    ...response(),
  ];
}

function typeErrors({ type, limited, exempt: part }: PriorityLevelConfiguration['spec']): FieldError[] {
  switch (type) {
    case 'Exempt':
      return limited === undefined ? [] : [forbiddenField('spec.limited', 'must be nil if the type is not Limited')];
    case 'Limited':
      return [
        ...(part === undefined ? [] : [forbiddenField('spec.exempt', 'must be nil if the type is Limited')]),
        ...(limited === undefined
          ? [requiredField('spec.limited', 'must not be empty when type is Limited')]
          : limitedErrors(limited)),
      ];
    default:
      return [unsupportedField('spec.type', type, ['Exempt', 'Limited'])];
  }
}

export function validatePriorityLevel({ metadata, spec }: PriorityLevelConfiguration): FieldError[] {
  const { name } = metadata;
  const fixed = mandatoryPriorityLevels.find((each) => each.metadata.name === name)?.spec;
  const isFixed = fixed === undefined || sameValue(name === exempt ? { ...spec, exempt: fixed.exempt } : spec, fixed);
  const what = name === exempt ? `'${name}' except the 'spec.exempt' field` : `'${name}'`;
  return [
    ...((name === exempt) !== (spec.type === 'Exempt')
      ? [invalidField('spec.type', spec.type, "type must be 'Exempt' if and only if name is 'exempt'")]
      : []),
    ...typeErrors(spec),
    ...(isFixed ? [] : [invalidField('spec', spec, `spec of ${what} must equal the fixed value`)]),
  ];
}
