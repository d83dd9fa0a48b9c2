// Writes answers: records, with their own names compressed, which the library does not do and headless services need to
// fit into a packet; and what is around them. Encoded records hold for every packet with the same question, whatever its
// id and the case of its letters.
import { record as recordCodec } from 'dns-packet';
import { type DnsQuery, flagBits, headerBytes, recordTypes } from './parse-query.ts';
import type { DnsRecord } from './resolve-name.ts';

/** More does not fit behind the two bytes of length that TCP has. */
const largestPacket = 65_535;
const largestPointer = 0x3fff;
const optBytes = 11;
/** What we say that we take ourselves: what passes every network whole. */
const ourUdpBytes = 1232;
const plainUdpBytes = 512;
const largestUdpBytes = 4096;

/** The records of an answer, as bytes that follow its question. */
export interface EncodedAnswer {
  /** Flags and response code. */
  flags: number;
  answers: number;
  authorities: number;
  additionals: number;
  body: Buffer;
  /** Records that may be left out where there is no room. */
  extra: Buffer;
}

// Encoding never waits, so one place to write into is enough.
const scratch = Buffer.allocUnsafe(largestPacket);

/** Throws for a name that has no place in DNS. */
function splitName(name: string): string[] {
  const labels = name.replace(/\.$/, '').split('.');
  if (labels.length === 1 && labels[0] === '') return [];
  if (name.length > 254 || labels.some((label) => label.length === 0 || label.length > 63)) {
    throw new RangeError(`${name.slice(0, 300)} is not a name of DNS`);
  }
  return labels;
}

/** A name as it stands in a question. */
export function encodeName(name: string): Buffer {
  const parts = splitName(name).map((label) => Buffer.from(`${String.fromCharCode(label.length)}${label}`, 'latin1'));
  return Buffer.concat([...parts, Buffer.alloc(1)]);
}

interface Writer {
  at: number;
  /** Names already written -> where. */
  known: Map<string, number>;
}

function writeName(writer: Writer, name: string): void {
  const labels = splitName(name);
  for (const [index, label] of labels.entries()) {
    const rest = labels.slice(index).join('.').toLowerCase();
    const place = writer.known.get(rest);
    if (place !== undefined) {
      writer.at = scratch.writeUInt16BE(0xc000 | place, writer.at);
      return;
    }
    if (writer.at <= largestPointer) writer.known.set(rest, writer.at);
    writer.at = scratch.writeUInt8(label.length, writer.at);
    if (writer.at + label.length > largestPacket) throw new RangeError('the packet is full');
    writer.at += scratch.write(label, writer.at, 'latin1');
  }
  writer.at = scratch.writeUInt8(0, writer.at);
}

/** The names within a record's data, which the library writes without a look at their length. */
function namesIn({ type, data }: DnsRecord): string[] {
  switch (type) {
    case 'CNAME':
    case 'NS':
    case 'PTR':
      return [data];
    case 'SRV':
      return [data.target];
    case 'SOA':
      return [data.mname, data.rname];
    default:
      return [];
  }
}

/** Writes as many as fit. Returns how many did. */
function writeRecords(writer: Writer, records: readonly DnsRecord[]): number {
  let count = 0;
  for (const record of records) {
    // A name, an address and all numbers fit into this; what comes near the end is left out.
    if (writer.at + 1024 > largestPacket) break;
    writeName(writer, record.name);
    writer.at = scratch.writeUInt16BE(recordTypes[record.type] ?? 0, writer.at);
    writer.at = scratch.writeUInt16BE(1, writer.at);
    writer.at = scratch.writeUInt32BE(record.ttl, writer.at);
    for (const name of namesIn(record)) splitName(name);
    const codec = recordCodec(record.type);
    codec.encode(record.data, scratch, writer.at);
    writer.at += codec.encode.bytes;
    count += 1;
  }
  return count;
}

/** Encodes the records of an answer to this question. Throws for records that DNS cannot carry. */
export function encodeAnswer(
  query: Pick<DnsQuery, 'name' | 'question'>,
  flags: number,
  sections: { answers?: readonly DnsRecord[]; authorities?: readonly DnsRecord[]; additionals?: readonly DnsRecord[] },
): EncodedAnswer {
  const start = headerBytes + query.question.length;
  const writer: Writer = { at: start, known: new Map() };
  let at = headerBytes;
  // Escaped names have labels of other lengths: nothing points at them.
  const labels = query.name === '' || query.name.includes('\\') ? [] : query.name.split('.');
  for (const [index, label] of labels.entries()) {
    writer.known.set(labels.slice(index).join('.'), at);
    at += label.length + 1;
  }
  const answers = writeRecords(writer, sections.answers ?? []);
  const authorities = writeRecords(writer, sections.authorities ?? []);
  const bodyEnd = writer.at;
  const additionals = writeRecords(writer, sections.additionals ?? []);
  return {
    flags,
    answers,
    authorities,
    additionals,
    body: Buffer.from(scratch.subarray(start, bodyEnd)),
    extra: Buffer.from(scratch.subarray(bodyEnd, writer.at)),
  };
}

/** The largest packet that may answer over UDP. */
export function udpLimit({ edns }: Pick<DnsQuery, 'edns'>): number {
  return Math.min(largestUdpBytes, Math.max(plainUdpBytes, edns?.udpBytes ?? 0));
}

/** A header of an answer and its question, with room behind for `rest` bytes. */
function startPacket(
  query: Pick<DnsQuery, 'id' | 'flags' | 'question'>,
  flags: number,
  counts: readonly number[],
  rest: number,
): Buffer {
  const { id, question } = query;
  const packet = Buffer.allocUnsafe(headerBytes + question.length + rest);
  packet.writeUInt16BE(id, 0);
  const { recursionDesired, checkingDisabled, response, recursionAvailable } = flagBits;
  packet.writeUInt16BE(
    (query.flags & (recursionDesired | checkingDisabled)) | response | recursionAvailable | flags,
    2,
  );
  packet.writeUInt16BE(question.length > 0 ? 1 : 0, 4);
  for (const [index, count] of counts.entries()) packet.writeUInt16BE(count, 6 + 2 * index);
  question.copy(packet, headerBytes);
  return packet;
}

/** `code`: a response code, of which EDNS carries the high bits. */
function writeOpt(packet: Buffer, at: number, code: number, dnssecOk: boolean): void {
  packet.writeUInt8(0, at);
  packet.writeUInt16BE(recordTypes['OPT'] ?? 0, at + 1);
  packet.writeUInt16BE(ourUdpBytes, at + 3);
  packet.writeUInt32BE(((code >> 4) << 24) | (dnssecOk ? 0x8000 : 0), at + 5);
  packet.writeUInt16BE(0, at + 9);
}

/** Puts encoded records behind a question. What is larger than the limit is cut, so that the client asks over TCP. */
export function assembleAnswer(query: DnsQuery, answer: EncodedAnswer, limitBytes: number): Buffer {
  const { body, extra, flags } = answer;
  const opt = query.edns === undefined ? 0 : optBytes;
  const least = headerBytes + query.question.length + opt;
  const withExtra = least + body.length + extra.length <= limitBytes;
  const withBody = withExtra || least + body.length <= limitBytes;
  const extras = (withExtra ? answer.additionals : 0) + (opt > 0 ? 1 : 0);
  const counts = withBody ? [answer.answers, answer.authorities, extras] : [0, 0, extras];
  const restBytes = (withBody ? body.length : 0) + (withExtra ? extra.length : 0) + opt;
  const packet = startPacket(query, flags | (withBody ? 0 : flagBits.truncated), counts, restBytes);
  let at = headerBytes + query.question.length;
  if (withBody) at += body.copy(packet, at);
  if (withExtra) at += extra.copy(packet, at);
  if (query.edns !== undefined) writeOpt(packet, at, 0, query.edns.dnssecOk);
  return packet;
}

/** An answer that is a code and nothing else. Codes above 15 need EDNS. */
export function encodeCode(
  query: Pick<DnsQuery, 'id' | 'flags' | 'question'> & { edns?: DnsQuery['edns'] },
  code: number,
  flags = 0,
): Buffer {
  const opt = query.edns === undefined ? 0 : optBytes;
  const packet = startPacket(query, flags | (code & 0xf), [0, 0, opt > 0 ? 1 : 0], opt);
  if (query.edns !== undefined) writeOpt(packet, packet.length - optBytes, code, query.edns.dnssecOk);
  return packet;
}

/** A question to send on, clean of everything else that came with it. */
export function encodeQuestion(query: Pick<DnsQuery, 'flags' | 'question' | 'edns'>, id: number): Buffer {
  const opt = query.edns === undefined ? 0 : optBytes;
  const packet = startPacket({ ...query, id }, 0, [0, 0, opt > 0 ? 1 : 0], opt);
  packet.writeUInt16BE(flagBits.recursionDesired | (query.flags & flagBits.checkingDisabled), 2);
  if (query.edns !== undefined) writeOpt(packet, packet.length - optBytes, 0, query.edns.dnssecOk);
  return packet;
}
