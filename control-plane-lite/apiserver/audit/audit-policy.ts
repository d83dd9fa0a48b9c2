// The policy of the audit log: what is recorded of which requests. Read once from a file, and checked in whole
// (k8s.io/apiserver: audit/policy, apis/audit/validation).

import { UsageError } from '#kube/process/flags.ts';
import { parseYaml } from '#kube/process/parse-yaml.ts';

export const auditLevels = ['None', 'Metadata', 'Request', 'RequestResponse'] as const;
export type AuditLevel = (typeof auditLevels)[number];

const stages = ['RequestReceived', 'ResponseStarted', 'ResponseComplete', 'Panic'] as const;
export type AuditStage = (typeof stages)[number];

export interface GroupResources {
  group: string;
  resources: readonly string[];
  resourceNames: readonly string[];
}

export interface AuditRule {
  level: AuditLevel;
  users: readonly string[];
  userGroups: readonly string[];
  verbs: readonly string[];
  namespaces: readonly string[];
  resources: readonly GroupResources[];
  nonResourceURLs: readonly string[];
  omitStages: readonly AuditStage[];
  omitManagedFields: boolean | undefined;
}

export interface AuditPolicy {
  rules: readonly AuditRule[];
  omitStages: readonly AuditStage[];
  omitManagedFields: boolean;
}

type Fields = Readonly<Record<string, unknown>>;

const apiVersion = 'audit.k8s.io/v1';

const isFields = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const isOneOf = <T extends string>(known: readonly T[], value: unknown): value is T =>
  known.some((each) => each === value);

function checkKnown(fields: Fields, known: readonly string[], where: string): void {
  const unknown = Object.keys(fields).find((name) => !known.includes(name));
  if (unknown !== undefined) throw new UsageError(`${where}: unknown field "${unknown}"`);
}

function textsOf(fields: Fields, name: string, where: string): string[] {
  const value = fields[name] ?? [];
  if (!Array.isArray(value) || !value.every((item): item is string => typeof item === 'string')) {
    throw new UsageError(`${where}.${name}: must be a list of texts`);
  }
  return value;
}

function stagesOf(fields: Fields, where: string): AuditStage[] {
  return textsOf(fields, 'omitStages', where).map((stage) => {
    if (isOneOf(stages, stage)) return stage;
    throw new UsageError(`${where}.omitStages: "${stage}" is not one of ${stages.join(', ')}`);
  });
}

function flagOf(fields: Fields, name: string, where: string): boolean | undefined {
  const value = fields[name];
  if (value === undefined || value === null || typeof value === 'boolean') return value ?? undefined;
  throw new UsageError(`${where}.${name}: must be true or false`);
}

function listOf(fields: Fields, name: string, where: string): Fields[] {
  const value = fields[name] ?? [];
  if (Array.isArray(value) && value.every(isFields)) return value;
  throw new UsageError(`${where}.${name}: must be a list of objects`);
}

function checkPath(path: string, where: string): void {
  if (path === '*') return;
  if (!path.startsWith('/')) throw new UsageError(`${where}: non-resource URL rules must begin with a '/' character`);
  if (path.slice(0, -1).includes('*')) {
    throw new UsageError(`${where}: non-resource URL wildcards '*' must be the final character of the rule`);
  }
}

function parseGroupResources(fields: Fields, where: string): GroupResources {
  checkKnown(fields, ['group', 'resources', 'resourceNames'], where);
  const group = fields['group'] ?? '';
  if (typeof group !== 'string') throw new UsageError(`${where}.group: must be a text`);
  const resources = textsOf(fields, 'resources', where);
  const resourceNames = textsOf(fields, 'resourceNames', where);
  if (resourceNames.length > 0 && resources.length === 0) {
    throw new UsageError(`${where}.resourceNames: using resourceNames requires at least one resource`);
  }
  return { group, resources, resourceNames };
}

function parseRule(fields: Fields, where: string): AuditRule {
  const known = ['level', 'users', 'userGroups', 'verbs', 'namespaces', 'resources', 'nonResourceURLs'];
  checkKnown(fields, [...known, 'omitStages', 'omitManagedFields'], where);
  const level = fields['level'];
  if (!isOneOf(auditLevels, level)) throw new UsageError(`${where}.level: must be one of ${auditLevels.join(', ')}`);
  const namespaces = textsOf(fields, 'namespaces', where);
  const resources = listOf(fields, 'resources', where).map((each, index) =>
    parseGroupResources(each, `${where}.resources[${index}]`),
  );
  const nonResourceURLs = textsOf(fields, 'nonResourceURLs', where);
  if (nonResourceURLs.length > 0 && (resources.length > 0 || namespaces.length > 0)) {
    throw new UsageError(
      `${where}.nonResourceURLs: rules cannot apply to both regular resources and non-resource URLs`,
    );
  }
  for (const path of nonResourceURLs) checkPath(path, `${where}.nonResourceURLs`);
  return {
    level,
    users: textsOf(fields, 'users', where),
    userGroups: textsOf(fields, 'userGroups', where),
    verbs: textsOf(fields, 'verbs', where),
    namespaces,
    resources,
    nonResourceURLs,
    omitStages: stagesOf(fields, where),
    omitManagedFields: flagOf(fields, 'omitManagedFields', where),
  };
}

/** The policy in a file's text. Throws UsageError that says what is wrong with it, and where. */
export function parseAuditPolicy(text: string, file: string): AuditPolicy {
  let parsed: unknown;
  try {
    parsed = parseYaml(text);
  } catch (error) {
    throw new UsageError(`the audit policy ${file} is no YAML: ${String(error)}`, { cause: error });
  }
  if (!isFields(parsed)) throw new UsageError(`the audit policy ${file} is empty`);
  if (parsed['apiVersion'] !== apiVersion || parsed['kind'] !== 'Policy') {
    throw new UsageError(`the audit policy ${file} must be of apiVersion ${apiVersion} and kind Policy`);
  }
  checkKnown(parsed, ['apiVersion', 'kind', 'metadata', 'rules', 'omitStages', 'omitManagedFields'], file);
  const rules = listOf(parsed, 'rules', file).map((rule, index) => parseRule(rule, `${file}: rules[${index}]`));
  if (rules.length === 0) throw new UsageError(`the audit policy ${file} has no rules`);
  return {
    rules,
    omitStages: stagesOf(parsed, file),
    omitManagedFields: flagOf(parsed, 'omitManagedFields', file) ?? false,
  };
}
