// Events of the audit log, in the form of audit.k8s.io/v1.
import type { UserInfo } from '../../registry/request-context.ts';
import type { RequestInfo } from '../http/request-info.ts';
import type { AuditLevel, AuditStage } from './audit-policy.ts';

type Fields = Record<string, unknown>;

export interface AuditFacts {
  level: AuditLevel;
  stage: AuditStage;
  auditId: string;
  requestUri: string;
  info: RequestInfo;
  user: UserInfo;
  impersonated: UserInfo | undefined;
  sourceIps: readonly string[];
  userAgent: string | undefined;
  /** Undefined: not answered yet. */
  code: number | undefined;
  failure: object | undefined;
  annotations: Readonly<Record<string, string>>;
  /** Objects, where the level asks for them. */
  requestObject: unknown;
  responseObject: unknown;
  /** From the body, where the path does not name the object. */
  posted: { name?: string; uid?: string; resourceVersion?: string } | undefined;
  omitManagedFields: boolean;
  receivedMs: number;
  nowMs: number;
}

const micro = (ms: number): string => new Date(ms).toISOString().replace('Z', '000Z');

function describeUser({ username, uid, groups, extra }: UserInfo): Fields {
  return {
    username,
    ...(uid === undefined || uid === '' ? {} : { uid }),
    ...(groups.length === 0 ? {} : { groups }),
    ...(extra === undefined || Object.keys(extra).length === 0 ? {} : { extra }),
  };
}

function describeObject({ info, posted }: AuditFacts): Fields {
  const fields: [string, string | undefined][] = [
    ['resource', info.plural],
    ['namespace', info.namespace],
    ['name', info.name === '' ? posted?.name : info.name],
    ['uid', posted?.uid],
    ['apiGroup', info.group],
    ['apiVersion', info.version],
    ['resourceVersion', posted?.resourceVersion],
    ['subresource', info.subresource],
  ];
  return Object.fromEntries(fields.filter(([, value]) => value !== undefined && value !== ''));
}

const isFields = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function withoutManagedFields(object: unknown): unknown {
  if (!isFields(object)) return object;
  const { metadata, items } = object;
  const bare: Fields = { ...object };
  if (isFields(metadata) && 'managedFields' in metadata) {
    const { managedFields: _, ...rest } = metadata;
    bare['metadata'] = rest;
  }
  if (Array.isArray(items)) bare['items'] = items.map(withoutManagedFields);
  return bare;
}

function statusOf({ code, failure }: AuditFacts): Fields {
  return failure === undefined ? { metadata: {}, code } : { metadata: {}, ...failure, code };
}

/** The event of a stage. */
export function auditEvent(facts: AuditFacts): Fields {
  const { info, level, impersonated, userAgent, code, annotations } = facts;
  const shown = (object: unknown) => (facts.omitManagedFields ? withoutManagedFields(object) : object);
  return {
    kind: 'Event',
    apiVersion: 'audit.k8s.io/v1',
    level,
    auditID: facts.auditId,
    stage: facts.stage,
    requestURI: facts.requestUri,
    verb: info.verb,
    user: describeUser(facts.user),
    ...(impersonated === undefined ? {} : { impersonatedUser: describeUser(impersonated) }),
    sourceIPs: facts.sourceIps,
    ...(userAgent === undefined ? {} : { userAgent }),
    ...(info.isResource ? { objectRef: describeObject(facts) } : {}),
    ...(code === undefined ? {} : { responseStatus: statusOf(facts) }),
    ...(facts.requestObject === undefined ? {} : { requestObject: shown(facts.requestObject) }),
    ...(facts.responseObject === undefined ? {} : { responseObject: shown(facts.responseObject) }),
    requestReceivedTimestamp: micro(facts.receivedMs),
    stageTimestamp: micro(facts.nowMs),
    ...(Object.keys(annotations).length === 0 ? {} : { annotations }),
  };
}
