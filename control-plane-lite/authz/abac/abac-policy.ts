// The policy file of attribute-based access control: a JSON object on each line, in the current form or in the first one.
// Source of the format: k8s.io/kubernetes, pkg/apis/abac.
import { UsageError } from '#kube/process/flags.ts';

export interface AbacRule {
  user: string;
  group: string;
  readonly: boolean;
  apiGroup: string;
  resource: string;
  namespace: string;
  nonResourcePath: string;
}

const currentVersion = 'abac.authorization.kubernetes.io/v1beta1';
const everyone = 'system:authenticated';
const textFields = ['user', 'group', 'apiGroup', 'resource', 'namespace', 'nonResourcePath'] as const;

type Fields = Readonly<Record<string, unknown>>;

const isFields = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function readSpec(spec: Fields): AbacRule {
  const rule: AbacRule = {
    user: '',
    group: '',
    readonly: false,
    apiGroup: '',
    resource: '',
    namespace: '',
    nonResourcePath: '',
  };
  for (const name of textFields) {
    const value = spec[name] ?? '';
    if (typeof value !== 'string') throw new Error(`${name} must be a text`);
    rule[name] = value;
  }
  const readonly = spec['readonly'] ?? false;
  if (typeof readonly !== 'boolean') throw new Error('readonly must be true or false');
  return { ...rule, readonly };
}

/** A star for user or group means everybody who is known. */
function withEveryone(rule: AbacRule): AbacRule {
  return rule.user === '*' || rule.group === '*' ? { ...rule, user: '', group: everyone } : rule;
}

/** In the first form, what is not named means all. */
function fromFirstForm(rule: AbacRule): AbacRule {
  const isForAll = rule.user === '' && rule.group === '';
  const isForAllPaths = rule.namespace === '' && rule.resource === '';
  return withEveryone({
    ...rule,
    group: isForAll ? everyone : rule.group,
    apiGroup: '*',
    namespace: rule.namespace === '' ? '*' : rule.namespace,
    resource: rule.resource === '' ? '*' : rule.resource,
    nonResourcePath: isForAllPaths ? '*' : '',
  });
}

function parseLine(line: string): AbacRule {
  const parsed: unknown = JSON.parse(line);
  if (!isFields(parsed)) throw new Error('not an object');
  const { apiVersion, kind, spec } = parsed;
  if (apiVersion === undefined && kind === undefined) return fromFirstForm(readSpec(parsed));
  if (apiVersion !== currentVersion || kind !== 'Policy') {
    throw new Error(`must be of apiVersion ${currentVersion} and kind Policy`);
  }
  return withEveryone(readSpec(isFields(spec) ? spec : {}));
}

/** The rules of a file's text. Blank lines and comments are passed over. Throws UsageError that names the line. */
export function parseAbacPolicy(text: string, file: string): AbacRule[] {
  return text.split('\n').flatMap((line, index) => {
    const trimmed = line.trim();
    if (trimmed === '' || trimmed.startsWith('#')) return [];
    try {
      return [parseLine(trimmed)];
    } catch (error) {
      throw new UsageError(`error reading policy file ${file}, line ${index}: ${trimmed}: ${String(error)}`, {
        cause: error,
      });
    }
  });
}
