// SPDY/3.1 frames as the streaming servers of container runtimes understand them: reading and writing, no state
// besides the bytes of an unfinished frame. Header blocks are only ever written (the SPDY draft 3.1, section 2).

/** A frame received. Types that a client of a runtime has no use for are `other`. */
export type SpdyFrame =
  | { type: 'data'; streamId: number; fin: boolean; data: Buffer }
  | { type: 'reply'; streamId: number; fin: boolean }
  | { type: 'reset'; streamId: number; status: number }
  | { type: 'ping'; id: number }
  | { type: 'goAway' }
  | { type: 'other' };

const version = 3;
const types = { synStream: 1, synReply: 2, rstStream: 3, ping: 6, goAway: 7 };
const headBytes = 8;
const flagFin = 1;
/** Larger frames are cut: the length field has 24 bits, and smaller ones keep streams fair. */
const maxDataBytes = 64 * 1024;
/** What one frame may announce; runtimes send far smaller ones. */
const maxFrameBytes = 4 * 1024 * 1024;

function controlFrame(type: number, flags: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(headBytes);
  head.writeUInt16BE(0x8000 | version, 0);
  head.writeUInt16BE(type, 2);
  head.writeUInt32BE((flags << 24) | payload.length, 4);
  return Buffer.concat([head, payload]);
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value >>> 0);
  return bytes;
}

/** Names and values, each behind its length. */
function headerBlock(headers: Readonly<Record<string, string>>): Buffer {
  const entries = Object.entries(headers);
  const parts = entries.flatMap(([name, value]) => {
    const text = [Buffer.from(name.toLowerCase()), Buffer.from(value)];
    return text.flatMap((bytes) => [uint32(bytes.length), bytes]);
  });
  return Buffer.concat([uint32(entries.length), ...parts]);
}

const zlibStart = Buffer.from([0x78, 0x01]);
/** An empty stored block: inflaters hand out what came before it. */
const syncFlush = Buffer.from([0, 0, 0, 0xff, 0xff]);

/**
 * Writes the header blocks of one connection, which are one zlib stream together. They are a few dozen bytes each:
 * stored blocks, which every inflater reads without the protocol's dictionary.
 */
export function createHeaderWriter(): (headers: Readonly<Record<string, string>>) => Buffer {
  let begun = false;
  return (headers) => {
    const block = headerBlock(headers);
    const stored = Buffer.alloc(5);
    stored.writeUInt16LE(block.length, 1);
    stored.writeUInt16LE(~block.length & 0xffff, 3);
    const start = begun ? [] : [zlibStart];
    begun = true;
    return Buffer.concat([...start, stored, block, syncFlush]);
  };
}

/** Opens a stream; `block` comes from the connection's header writer. */
export function synStreamFrame(streamId: number, block: Buffer): Buffer {
  return controlFrame(types.synStream, 0, Buffer.concat([uint32(streamId), uint32(0), Buffer.alloc(2), block]));
}

export function rstStreamFrame(streamId: number, status: number): Buffer {
  return controlFrame(types.rstStream, 0, Buffer.concat([uint32(streamId), uint32(status)]));
}

export function pingFrame(id: number): Buffer {
  return controlFrame(types.ping, 0, uint32(id));
}

/** As many frames as the data needs; with `fin` the last one ends the stream. */
export function dataFrames(streamId: number, data: Buffer, fin = false): Buffer[] {
  const frames: Buffer[] = [];
  let at = 0;
  do {
    const part = data.subarray(at, at + maxDataBytes);
    at += part.length;
    const head = Buffer.alloc(headBytes);
    head.writeUInt32BE(streamId, 0);
    head.writeUInt32BE(((fin && at >= data.length ? flagFin : 0) << 24) | part.length, 4);
    frames.push(head, part);
  } while (at < data.length);
  return frames;
}

/** A peer that does not speak SPDY/3.1. */
export class SpdyError extends Error {
  readonly code = 'SPDY';
}

function readFrame(head: Buffer, payload: Buffer): SpdyFrame {
  const fin = ((head[4] ?? 0) & flagFin) !== 0;
  const first = head.readUInt32BE(0);
  if (first < 0x80000000) return { type: 'data', streamId: first, fin, data: payload };
  if (first >>> 16 !== (0x8000 | version)) throw new SpdyError('not a frame of SPDY version 3');
  const type = first & 0xffff;
  const word = (offset: number) => {
    if (payload.length < offset + 4) throw new SpdyError(`a frame of type ${type} is too short`);
    return payload.readUInt32BE(offset);
  };
  switch (type) {
    case types.synReply:
      return { type: 'reply', streamId: word(0) & 0x7fffffff, fin };
    case types.rstStream:
      return { type: 'reset', streamId: word(0) & 0x7fffffff, status: word(4) };
    case types.ping:
      return { type: 'ping', id: word(0) };
    case types.goAway:
      return { type: 'goAway' };
    default:
      return { type: 'other' };
  }
}

/** Cuts a byte stream into frames. The function returned throws SpdyError for bytes that are none. */
export function createFrameReader(): (chunk: Buffer) => SpdyFrame[] {
  let rest: Buffer = Buffer.alloc(0);
  return (chunk) => {
    let data = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    const frames: SpdyFrame[] = [];
    while (data.length >= headBytes) {
      const length = data.readUInt32BE(4) & 0xffffff;
      if (length > maxFrameBytes) throw new SpdyError(`a frame of ${length} bytes is too long`);
      if (data.length < headBytes + length) break;
      frames.push(readFrame(data.subarray(0, headBytes), data.subarray(headBytes, headBytes + length)));
      data = data.subarray(headBytes + length);
    }
    rest = data;
    return frames;
  };
}
