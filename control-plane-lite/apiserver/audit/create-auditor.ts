// Records requests by policy: begun once the user is known, written as events at each stage. A request never waits for
// its record, and never fails for it.
import type { IncomingMessage } from 'node:http';
import { parseYaml } from '#kube/process/parse-yaml.ts';
import type { UserInfo } from '../../registry/request-context.ts';
import type { Exchange } from '../http/exchange.ts';
import { isLongRunning } from '../http/long-running.ts';
import { protobufMediaType, yamlMediaType } from '../http/negotiate.ts';
import { bodyOf, keepBody } from '../http/read-body.ts';
import type { ProtobufCodec } from '../protobuf/protobuf-codec.ts';
import { auditEvent } from './audit-event.ts';
import type { AuditLog } from './audit-log.ts';
import type { AuditMetrics } from './audit-metrics.ts';
import type { AuditPolicy, AuditStage } from './audit-policy.ts';
import type { AuditRecord } from './audit-record.ts';
import { matchAudit } from './match-audit.ts';

export interface Auditor {
  /** Begins the record of a request whose user is known; undefined when the policy wants none. */
  begin(exchange: Exchange, user: UserInfo): AuditRecord | undefined;
}

export interface AuditorDeps {
  policy: AuditPolicy;
  log: AuditLog;
  metrics: AuditMetrics;
  nowMs(): number;
}

function sourceIpsOf({ headers, socket }: IncomingMessage): string[] {
  const forwarded = String(headers['x-forwarded-for'] ?? '').split(',');
  const all = [...forwarded, String(headers['x-real-ip'] ?? ''), socket.remoteAddress ?? ''];
  return [...new Set(all.map((each) => each.trim().replace(/^::ffff:/, '')).filter((each) => each !== ''))];
}

/** Objects that cannot be read are left out: whoever sent them was told. */
function parseObject(bytes: Buffer, contentType: string, protobuf: ProtobufCodec): unknown {
  try {
    if (bytes.length === 0) return undefined;
    if (contentType.startsWith(protobufMediaType)) return protobuf.decode(bytes);
    return contentType.includes('yaml') || contentType.startsWith(yamlMediaType)
      ? parseYaml(bytes.toString())
      : JSON.parse(bytes.toString());
  } catch {
    return undefined;
  }
}

const writing = new Set(['create', 'update', 'patch', 'delete', 'deletecollection']);

interface Named {
  metadata?: { name?: string; uid?: string; resourceVersion?: string } | null;
}

export function createAuditor({ policy, log, metrics, nowMs }: AuditorDeps): Auditor {
  const write = (exchange: Exchange, record: AuditRecord, stage: AuditStage) => {
    const { request, response, info, protobuf } = exchange;
    const { wish } = record;
    if (wish.omitStages.includes(stage)) return;
    const isAnswered = stage !== 'RequestReceived';
    const body = isAnswered && writing.has(info.verb) ? bodyOf(request) : undefined;
    const sent = body === undefined ? undefined : parseObject(body, request.headers['content-type'] ?? '', protobuf);
    const wantsRequest = wish.level === 'Request' || wish.level === 'RequestResponse';
    const { response: answer } = record;
    const event = auditEvent({
      ...record,
      ...wish,
      stage,
      requestUri: request.url ?? '',
      info,
      sourceIps: sourceIpsOf(request),
      userAgent: request.headers['user-agent'],
      code: isAnswered ? response.statusCode : undefined,
      requestObject: wantsRequest ? sent : undefined,
      responseObject: answer === undefined ? undefined : parseObject(answer.bytes, answer.contentType, protobuf),
      posted:
        info.verb === 'create' || info.verb === 'update'
          ? ((sent as Named | undefined)?.metadata ?? undefined)
          : undefined,
      nowMs: nowMs(),
    });
    metrics.written(wish.level);
    log.write(`${JSON.stringify(event)}\n`);
  };
  return {
    begin: (exchange, user) => {
      const wish = matchAudit(policy, exchange.info, user);
      if (wish.level === 'None') return undefined;
      const record: AuditRecord = {
        wish,
        auditId: exchange.auditId,
        receivedMs: exchange.nowMs,
        user,
        impersonated: undefined,
        annotations: {},
        failure: undefined,
        response: undefined,
        stage: (stage) => write(exchange, record, stage),
      };
      if (writing.has(exchange.info.verb)) keepBody(exchange.request);
      record.stage('RequestReceived');
      exchange.response.once('close', () => record.stage('ResponseComplete'));
      if (isLongRunning(exchange.info)) followStart(exchange, record);
      return record;
    },
  };
}

/** Streams are recorded when they begin, too. */
function followStart({ response }: Exchange, record: AuditRecord): void {
  const writeHead = response.writeHead.bind(response) as (...given: unknown[]) => typeof response;
  let isStarted = false;
  const started = (...given: unknown[]) => {
    const answered = writeHead(...given);
    if (!isStarted) record.stage('ResponseStarted');
    isStarted = true;
    return answered;
  };
  response.writeHead = started as typeof response.writeHead;
}
