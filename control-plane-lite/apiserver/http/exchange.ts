// One request and its answer, as every handler sees them.
import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from 'node:http';
import { constants, gzip } from 'node:zlib';
import { stringify } from 'yaml';
import type { UserInfo } from '../../registry/request-context.ts';
import { type AuditRecord, wantsResponse } from '../audit/audit-record.ts';
import type { ProtobufCodec } from '../protobuf/protobuf-codec.ts';
import { protobufMediaType, selectForm, yamlMediaType } from './negotiate.ts';
import type { RequestInfo } from './request-info.ts';

export interface Exchange {
  request: IncomingMessage;
  response: ServerResponse;
  info: RequestInfo;
  user: UserInfo;
  /** Texts for Warning headers, sent with the answer. */
  warnings: string[];
  nowMs: number;
  protobuf: ProtobufCodec;
  /** Names the request in the audit log and in the answer. */
  auditId: string;
  /** Set while the request is recorded. */
  audit?: AuditRecord | undefined;
  /** Where priority and fairness took the request: headers of the answer say so. */
  flow?: { schemaUid: string; levelUid: string };
  /** To be called when a watch has sent its initial state: what follows costs little. */
  initialised?: () => void;
}

const maxWarningBytes = 4096;
/** The reference's threshold: below it, compressing costs more than sending. */
const gzipFromBytes = 128 * 1024;

/** A Warning header's value: printable ASCII, whatever the text. */
function warningHeader(text: string): string {
  const escaped = text
    .replaceAll('\\', '\\\\')
    .replaceAll('"', '\\"')
    .replace(/[^\x20-\x7e]/g, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`);
  return `299 - "${escaped}"`;
}

/** Warning headers of an answer, as many as clients are sure to take. */
export function warningHeaders(texts: readonly string[]): string[] {
  const headers: string[] = [];
  let size = 0;
  for (const header of texts.map(warningHeader)) {
    size += header.length;
    if (size > maxWarningBytes) break;
    headers.push(header);
  }
  return headers;
}

/** Programs that people read the answers of. */
const readPrograms = /^(curl|Wget|Mozilla\/5\.0)/;

/** Whether JSON is to be written for people: as `pretty` says, else by the program. */
function wantsIndented({ info, request }: Exchange): boolean {
  const pretty = info.query.get('pretty') ?? '';
  if (pretty !== '') return pretty === 'true' || pretty === '1';
  return readPrograms.test(request.headers['user-agent'] ?? '');
}

/** Sends bytes and ends the exchange. */
export function sendBytes(exchange: Exchange, code: number, contentType: string, body: Buffer | string): void {
  const { response, warnings } = exchange;
  // The deadline has passed, and the client knows.
  if (response.headersSent) return;
  const isIndented = contentType.startsWith('application/json') && wantsIndented(exchange);
  const plain = typeof body === 'string' ? Buffer.from(body) : body;
  const bytes = isIndented ? Buffer.from(JSON.stringify(JSON.parse(plain.toString()), undefined, 2)) : plain;
  const headers: OutgoingHttpHeaders = {
    'Content-Type': contentType,
    'Content-Length': bytes.length,
    'Cache-Control': 'no-cache, private',
  };
  addRequestHeaders(exchange, headers);
  if (exchange.audit !== undefined && wantsResponse(exchange.audit)) exchange.audit.response = { contentType, bytes };
  if (warnings.length > 0) headers['Warning'] = warningHeaders(warnings);
  if (bytes.length >= gzipFromBytes && takesGzip(exchange)) {
    sendZipped(response, code, headers, bytes);
    return;
  }
  response.writeHead(code, headers);
  response.end(exchange.request.method === 'HEAD' ? undefined : bytes);
}

/** Sent with the other headers: setting them one by one is slower. */
export function addRequestHeaders({ flow, auditId }: Exchange, headers: OutgoingHttpHeaders): void {
  headers['Audit-Id'] = auditId;
  if (flow === undefined) return;
  headers['X-Kubernetes-PF-FlowSchema-UID'] = flow.schemaUid;
  headers['X-Kubernetes-PF-PriorityLevel-UID'] = flow.levelUid;
}

function takesGzip({ request }: Exchange): boolean {
  const encodings = String(request.headers['accept-encoding'] ?? '').split(',');
  return request.method !== 'HEAD' && encodings.some((each) => each.split(';')[0]?.trim() === 'gzip');
}

/** Compresses away from the event loop, then sends. */
function sendZipped(response: ServerResponse, code: number, headers: OutgoingHttpHeaders, bytes: Buffer): void {
  response.statusCode = code;
  gzip(bytes, { level: constants.Z_BEST_SPEED }, (error, zipped) => {
    if (response.headersSent) return;
    if (error === null) {
      const encoding = { 'Content-Encoding': 'gzip', Vary: 'Accept-Encoding', 'Content-Length': zipped.length };
      response.writeHead(code, { ...headers, ...encoding });
      response.end(zipped);
    } else {
      response.writeHead(code, headers);
      response.end(bytes);
    }
  });
}

export function sendJson(exchange: Exchange, code: number, body: Buffer | object): void {
  sendBytes(exchange, code, 'application/json', Buffer.isBuffer(body) ? body : JSON.stringify(body));
}

/** Sends an object of the API in the encoding that the client prefers, and as JSON where it takes none that there is. */
export function sendObject(exchange: Exchange, code: number, object: object): void {
  const { accept } = exchange.request.headers;
  const mediaType = selectForm(accept)?.mediaType;
  if (mediaType === protobufMediaType) {
    const { apiVersion, kind } = object as { apiVersion?: string; kind?: string };
    if (exchange.protobuf.knows(apiVersion ?? '', kind ?? '')) {
      sendBytes(exchange, code, protobufMediaType, exchange.protobuf.encode({ ...object }));
      return;
    }
  }
  if (mediaType === yamlMediaType) sendBytes(exchange, code, yamlMediaType, stringify(object));
  else sendJson(exchange, code, object);
}

export function sendText(exchange: Exchange, code: number, text: string): void {
  sendBytes(exchange, code, 'text/plain; charset=utf-8', text);
}
