// Options of list, watch and deletecollection from the query, checked as the reference does.
import { fieldsMatch, parseFieldSelector } from '#kube/api/field-selector.ts';
import { SelectorError, selectorMatches } from '#kube/api/label-selector.ts';
import { parseLabelSelector } from '#kube/api/parse-label-selector.ts';
import type { Resource } from '#kube/api/resource.ts';
import { failure, type StatusError } from '#kube/errors/status-error.ts';
import type { ServedResource } from '../../registry/resource-table.ts';
import { selectableField } from '../../registry/selectable-fields.ts';
import { badRequest } from '../../registry/status-errors.ts';
import type { Attributes } from '../../storage/cache/attributes.ts';
import type { Match } from '../../storage/cache/resource-cache.ts';

export interface ParsedListOptions {
  match: Match | undefined;
  /** Identifies the selection: watches with the same one share their events. */
  selection: string;
  /** Undefined: unset. 0: any state will do. */
  resourceVersion: number | undefined;
  resourceVersionMatch: string;
  limit: number;
  /** From a continue token. */
  startAfter: string;
  continueRevision: number | undefined;
  timeoutSeconds: number;
  allowBookmarks: boolean;
  sendInitialEvents: boolean | undefined;
}

/** Parses a resourceVersion; empty is unset. Throws StatusError. */
export function parseResourceVersion(text: string): number | undefined {
  if (text === '') return undefined;
  if (/^\d+$/.test(text)) return Number(text);
  const detail = `resourceVersion: Invalid value: ${JSON.stringify(text)}: strconv.ParseUint: parsing ${JSON.stringify(text)}: invalid syntax`;
  throw badRequest(`invalid resource version: ${detail}`);
}

function parseMatch(query: URLSearchParams, resource: Resource, more: readonly string[]): Match | undefined {
  const labelText = query.get('labelSelector') ?? '';
  const fieldText = query.get('fieldSelector') ?? '';
  if (labelText === '' && fieldText === '') return undefined;
  try {
    const labels = parseLabelSelector(labelText);
    const fields = parseFieldSelector(fieldText).map((requirement) => {
      const field = more.includes(requirement.field) ? requirement.field : selectableField(resource, requirement.field);
      if (field !== undefined) return { ...requirement, field };
      const name = requirement.field.includes('"') ? JSON.stringify(requirement.field) : requirement.field;
      throw badRequest(`field label not supported: ${name}`);
    });
    const exact = fields.find(({ operator, value }) => operator === '=' && value !== '');
    const belongs = (attributes: Attributes) =>
      selectorMatches(labels, attributes.labels) && fieldsMatch(fields, (field) => attributes.fields[field] ?? '');
    return Object.assign(belongs, { exact });
  } catch (error) {
    if (error instanceof SelectorError) throw badRequest(error.message);
    throw error;
  }
}

/** In a continue token: go on with what is there now. */
export const currentRevision = -1;

/** The token that continues a list after a key, at a revision. */
export function encodeContinue(revision: number, afterKey: string): string {
  return Buffer.from(JSON.stringify({ v: 'meta.k8s.io/v1', rv: revision, start: afterKey })).toString('base64url');
}

function decodeContinue(token: string): { revision: number; startAfter: string } {
  try {
    const { rv, start } = JSON.parse(Buffer.from(token, 'base64url').toString()) as { rv?: unknown; start?: unknown };
    if (typeof rv === 'number' && typeof start === 'string') return { revision: rv, startAfter: start };
  } catch {
    // Answered below like any other token that is not ours.
  }
  throw badRequest('invalid continue token: continue key is not valid: the token was not issued by this server');
}

function parseCount(query: URLSearchParams, name: string): number {
  const text = query.get(name) ?? '';
  if (text === '') return 0;
  if (!/^-?\d+$/.test(text)) {
    throw badRequest(`strconv.ParseInt: parsing ${JSON.stringify(text)}: invalid syntax`);
  }
  return Number(text);
}

const parseFlag = (value: string | null): boolean => value !== null && value !== 'false' && value !== '0';

/** Reads and checks the options; `selectableFields` are those of a custom resource. Throws StatusError. */
export function parseListOptions(
  query: URLSearchParams,
  { resource, selectableFields = [] }: Pick<ServedResource, 'resource' | 'selectableFields'>,
  isWatch = false,
): ParsedListOptions {
  const token = query.get('continue') ?? '';
  const resourceVersion = parseResourceVersion(query.get('resourceVersion') ?? '');
  const resourceVersionMatch = query.get('resourceVersionMatch') ?? '';
  const problems = findProblems(query, isWatch || parseFlag(query.get('watch')));
  if (problems.length > 0) throw invalidListOptions(problems);
  if (token !== '' && resourceVersion !== undefined && resourceVersion !== 0) {
    throw badRequest('specifying resource version is not allowed when using continue');
  }
  const continued = token === '' ? undefined : decodeContinue(token);
  const initial = query.get('sendInitialEvents');
  return {
    match: parseMatch(query, resource, selectableFields),
    selection: `${query.get('labelSelector') ?? ''}\n${query.get('fieldSelector') ?? ''}`,
    resourceVersion,
    resourceVersionMatch,
    limit: Math.max(0, parseCount(query, 'limit')),
    startAfter: continued?.startAfter ?? '',
    continueRevision: continued?.revision,
    timeoutSeconds: parseCount(query, 'timeoutSeconds'),
    allowBookmarks: parseFlag(query.get('allowWatchBookmarks')),
    sendInitialEvents: initial === null ? undefined : parseFlag(initial),
  };
}

interface Problem {
  field: string;
  reason: string;
  message: string;
}

const match = 'resourceVersionMatch';

const forbidden = (field: string, detail: string): Problem => ({
  field,
  reason: 'FieldValueForbidden',
  message: `Forbidden: ${detail}`,
});

function unsupported(value: string, supported: readonly string[]): Problem {
  const listed = supported.map((name) => JSON.stringify(name)).join(', ');
  const message = `Unsupported value: ${JSON.stringify(value)}: supported values: ${listed}`;
  return { field: match, reason: 'FieldValueNotSupported', message };
}

/** All that is wrong with the combination (apimachinery: internalversion/validation). */
function findProblems(query: URLSearchParams, isWatch: boolean): Problem[] {
  const wanted = query.get(match) ?? '';
  const hasInitial = query.get('sendInitialEvents') !== null;
  const continued = (query.get('continue') ?? '') !== '';
  return isWatch ? watchProblems(wanted, hasInitial, continued) : listProblems(query, wanted, hasInitial, continued);
}

function watchProblems(wanted: string, hasInitial: boolean, continued: boolean): Problem[] {
  const problems: Problem[] = [];
  if (hasInitial && wanted !== 'NotOlderThan') {
    problems.push(forbidden(match, 'sendInitialEvents requires setting resourceVersionMatch to NotOlderThan'));
  }
  if (wanted === '') return problems;
  if (!hasInitial) {
    problems.push(forbidden(match, 'resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided'));
  }
  if (wanted !== 'NotOlderThan') problems.push(unsupported(wanted, ['NotOlderThan']));
  if (continued) problems.push(forbidden(match, 'resourceVersionMatch is forbidden when continue is provided'));
  return problems;
}

function listProblems(query: URLSearchParams, wanted: string, hasInitial: boolean, continued: boolean): Problem[] {
  const problems: Problem[] = [];
  const resourceVersion = query.get('resourceVersion') ?? '';
  if (wanted !== '') {
    if (resourceVersion === '') {
      problems.push(forbidden(match, 'resourceVersionMatch is forbidden unless resourceVersion is provided'));
    }
    if (continued) problems.push(forbidden(match, 'resourceVersionMatch is forbidden when continue is provided'));
    if (wanted !== 'Exact' && wanted !== 'NotOlderThan') {
      problems.push(unsupported(wanted, ['Exact', 'NotOlderThan', '']));
    }
    if (wanted === 'Exact' && resourceVersion === '0') {
      problems.push(forbidden(match, 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"'));
    }
  }
  if (hasInitial) problems.push(forbidden('sendInitialEvents', 'sendInitialEvents is forbidden for list'));
  return problems;
}

function invalidListOptions(problems: readonly Problem[]): StatusError {
  const texts = problems.map(({ field, message }) => `${field}: ${message}`);
  const why = texts.length === 1 ? texts[0] : `[${texts.join(', ')}]`;
  return failure(422, 'Invalid', `ListOptions.meta.k8s.io "" is invalid: ${why}`, {
    group: 'meta.k8s.io',
    kind: 'ListOptions',
    causes: problems.map(({ field, reason, message }) => ({ reason, message, field })),
  });
}
