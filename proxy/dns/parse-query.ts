// Reads one question from the bytes of a packet that anyone may have sent. Nothing is allocated by what a count says.

export const headerBytes = 12;

/** Codes of record types that are spoken of by number. */
export const recordTypes: Readonly<Record<string, number>> = {
  A: 1,
  NS: 2,
  CNAME: 5,
  SOA: 6,
  PTR: 12,
  TXT: 16,
  AAAA: 28,
  SRV: 33,
  OPT: 41,
  ANY: 255,
};
const typeNames = new Map(Object.entries(recordTypes).map(([name, code]) => [code, name]));

export const responseCodes = { formatError: 1, serverFailure: 2, nxDomain: 3, notImplemented: 4, refused: 5 } as const;

export const flagBits = {
  response: 0x8000,
  authoritative: 0x0400,
  truncated: 0x0200,
  recursionDesired: 0x0100,
  recursionAvailable: 0x0080,
  checkingDisabled: 0x0010,
} as const;

const opcodeBits = 0x7800;
const classIn = 1;
const classAny = 255;

export interface Edns {
  udpBytes: number;
  version: number;
  dnssecOk: boolean;
}

export interface DnsQuery {
  id: number;
  flags: number;
  /** In lower case, without the last dot. */
  name: string;
  /** `A`, or `TYPE65` for types without a part here. */
  type: string;
  /** The question section as it was sent: answers repeat its letters' case. */
  question: Buffer;
  /** Equal for questions that have the same answer. */
  key: string;
  edns: Edns | undefined;
}

/** `refusal`: an answer with only this code. `undefined`: not worth an answer, the sender may be anyone. */
export type ParsedQuery =
  | { kind: 'query'; query: DnsQuery }
  | { kind: 'refusal'; id: number; flags: number; code: number; question: Buffer }
  | undefined;

const none = Buffer.alloc(0);

/** Where the name at `offset` ends; undefined where it is cut, too long or has a strange label. */
export function skipName(bytes: Buffer, offset: number, mayPoint = true): number | undefined {
  for (let at = offset; at - offset < 255; ) {
    const length = bytes[at];
    if (length === undefined) return undefined;
    if (length === 0) return at + 1;
    if (length >= 0xc0 && mayPoint) return at + 2 <= bytes.length ? at + 2 : undefined;
    if (length > 63) return undefined;
    at += length + 1;
  }
  return undefined;
}

/** One record, as far as it can be read without knowing its type. */
export interface RawRecord {
  type: number;
  class: number;
  /** Where its time to live is. */
  ttlAt: number;
  dataAt: number;
  end: number;
}

/** The record at `offset`; undefined where the packet ends within it. */
export function readRecord(bytes: Buffer, offset: number): RawRecord | undefined {
  const at = skipName(bytes, offset);
  if (at === undefined || at + 10 > bytes.length) return undefined;
  const end = at + 10 + bytes.readUInt16BE(at + 8);
  if (end > bytes.length) return undefined;
  return { type: bytes.readUInt16BE(at), class: bytes.readUInt16BE(at + 2), ttlAt: at + 4, dataAt: at + 10, end };
}

/** `malformed` also where there are two of them. */
function readEdns(bytes: Buffer, offset: number): Edns | undefined | 'malformed' {
  let edns: Edns | undefined;
  const records = bytes.readUInt16BE(6) + bytes.readUInt16BE(8) + bytes.readUInt16BE(10);
  let at = offset;
  for (let read = 0; read < records; read += 1) {
    const record = readRecord(bytes, at);
    if (record === undefined) return 'malformed';
    if (record.type === recordTypes['OPT']) {
      if (edns !== undefined || bytes[at] !== 0) return 'malformed';
      const version = bytes[record.ttlAt + 1] ?? 0;
      edns = { udpBytes: record.class, version, dnssecOk: (bytes[record.ttlAt + 2] ?? 0) >= 0x80 };
    }
    at = record.end;
  }
  return edns;
}

function lowerCase(text: string): string {
  return text.replace(/[A-Z]+/g, (letters) => letters.toLowerCase());
}

/** The labels between dots. A dot within a label is written `\.`, so that it splits nothing. */
function readName(wire: string): string {
  const labels: string[] = [];
  for (let at = 0; wire.charCodeAt(at) > 0; at += wire.charCodeAt(at) + 1) {
    labels.push(wire.slice(at + 1, at + 1 + wire.charCodeAt(at)));
  }
  return labels.map((label) => (/[.\\]/.test(label) ? label.replace(/[.\\]/g, '\\$&') : label)).join('.');
}

/** Decodes a question, by RFC 1035, 6891 (EDNS) and 9619 (one question only). */
export function parseQuery(bytes: Buffer): ParsedQuery {
  if (bytes.length < headerBytes) return undefined;
  const id = bytes.readUInt16BE(0);
  const flags = bytes.readUInt16BE(2);
  if ((flags & flagBits.response) !== 0) return undefined;
  const isQuery = (flags & opcodeBits) === 0;
  if (bytes.readUInt16BE(4) !== 1) {
    return isQuery ? { kind: 'refusal', id, flags, code: responseCodes.formatError, question: none } : undefined;
  }
  const nameEnd = skipName(bytes, headerBytes, false);
  if (nameEnd === undefined || nameEnd + 4 > bytes.length) return undefined;
  const question = bytes.subarray(headerBytes, nameEnd + 4);
  const refusal = (code: number): ParsedQuery => ({ kind: 'refusal', id, flags, code, question });
  if (!isQuery) return refusal(responseCodes.notImplemented);
  const edns = readEdns(bytes, nameEnd + 4);
  if (edns === 'malformed') return refusal(responseCodes.formatError);
  const questionClass = bytes.readUInt16BE(nameEnd + 2);
  if (questionClass !== classIn && questionClass !== classAny) return refusal(responseCodes.refused);
  const typeCode = bytes.readUInt16BE(nameEnd);
  const wire = lowerCase(bytes.toString('latin1', headerBytes, nameEnd));
  return {
    kind: 'query',
    query: {
      id,
      flags,
      name: readName(wire),
      type: typeNames.get(typeCode) ?? `TYPE${typeCode}`,
      question,
      key: `${typeCode}/${questionClass}/${wire}`,
      edns,
    },
  };
}
