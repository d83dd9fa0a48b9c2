import assert from 'node:assert/strict';
import { Duplex, PassThrough } from 'node:stream';
import { describe, it } from 'node:test';
import { constants, inflateSync } from 'node:zlib';
import { createSpdyConnection } from '../../../../agent/server/spdy/spdy-connection.ts';
import {
  createFrameReader,
  createHeaderWriter,
  dataFrames,
  rstStreamFrame,
  SpdyError,
  synStreamFrame,
} from '../../../../agent/server/spdy/spdy-frames.ts';

/** A connection whose other end is in the test's hands. */
function pair(): { socket: Duplex; sent: Buffer[]; say(bytes: Buffer): void; hangUp(): void } {
  const incoming = new PassThrough();
  const sent: Buffer[] = [];
  const socket = new Duplex({
    read: () => undefined,
    write: (chunk: Buffer, _, done) => {
      sent.push(chunk);
      done();
    },
  });
  incoming.on('data', (chunk) => socket.push(chunk));
  return { socket, sent, say: (bytes) => void incoming.write(bytes), hangUp: () => void socket.destroy() };
}

const settled = () => new Promise((resolve) => setImmediate(resolve));
const reply = (streamId: number) => Buffer.from([0x80, 3, 0, 2, 0, 0, 0, 4, 0, 0, 0, streamId]);

describe('SPDY frames', () => {
  it('writes header blocks that are one zlib stream', () => {
    const write = createHeaderWriter();
    const both = Buffer.concat([write({ streamType: 'error' }), write({ streamType: 'stdin' })]);
    const text = inflateSync(both, { finishFlush: constants.Z_SYNC_FLUSH });
    const block = (value: string) => {
      const bytes = Buffer.alloc(4 + 4 + 10 + 4 + value.length);
      bytes.writeUInt32BE(1, 0);
      bytes.writeUInt32BE(10, 4);
      bytes.write('streamtype', 8);
      bytes.writeUInt32BE(value.length, 18);
      bytes.write(value, 22);
      return bytes;
    };
    assert.deepEqual(text, Buffer.concat([block('error'), block('stdin')]));
  });

  it('opens a stream with its number, priority zero and the block', () => {
    const frame = synStreamFrame(7, Buffer.from('block'));
    assert.equal(
      frame.toString('hex'),
      `80030001${'0000000f'}00000007${'00000000'}0000${Buffer.from('block').toString('hex')}`,
    );
  });

  it('cuts long data into frames, the last of which ends the stream', () => {
    const data = Buffer.alloc(150_000, 1);
    const frames = createFrameReader()(Buffer.concat(dataFrames(5, data, true)));
    assert.deepEqual(
      frames.map((frame) => frame.type === 'data' && [frame.streamId, frame.data.length, frame.fin]),
      [
        [5, 65_536, false],
        [5, 65_536, false],
        [5, 18_928, true],
      ],
    );
    assert.deepEqual(createFrameReader()(Buffer.concat(dataFrames(5, Buffer.alloc(0), true))), [
      { type: 'data', streamId: 5, fin: true, data: Buffer.alloc(0) },
    ]);
  });

  it('reads frames however the bytes arrive', () => {
    const all = Buffer.concat([reply(3), rstStreamFrame(3, 5), ...dataFrames(1, Buffer.from('hello'))]);
    const read = createFrameReader();
    const frames = [...all].flatMap((byte) => read(Buffer.from([byte])));
    assert.deepEqual(frames, [
      { type: 'reply', streamId: 3, fin: false },
      { type: 'reset', streamId: 3, status: 5 },
      { type: 'data', streamId: 1, fin: false, data: Buffer.from('hello') },
    ]);
  });

  it('refuses what is no frame: another version, a length out of bounds, too few bytes', () => {
    for (const bytes of ['8002000200000004', '00000001ffffffff', '800300020000000100']) {
      assert.throws(() => createFrameReader()(Buffer.from(bytes.padEnd(24, '0'), 'hex')), SpdyError, bytes);
    }
  });
});

describe('a SPDY connection', () => {
  it('hands what the server sends to its stream, until the end', async () => {
    const { socket, say } = pair();
    const spdy = createSpdyConnection(socket, Buffer.alloc(0));
    const [one, two]: [string[], string[]] = [[], []];
    const first = spdy.openStream({ streamType: 'stdout' }, (data) => void one.push(data.toString()));
    spdy.openStream({ streamType: 'stderr' }, (data) => void two.push(data.toString()));
    say(
      Buffer.concat([reply(1), reply(3), ...dataFrames(1, Buffer.from('out')), ...dataFrames(3, Buffer.from('err'))]),
    );
    say(Buffer.concat(dataFrames(1, Buffer.from('!'), true)));
    await first.ended;
    say(Buffer.concat(dataFrames(1, Buffer.from('late'))));
    await settled();
    assert.deepEqual([one, two], [['out', '!'], ['err']]);
    spdy.destroy();
  });

  it('ends a stream once, and writes nothing after that', async () => {
    const { socket, sent } = pair();
    const spdy = createSpdyConnection(socket, Buffer.alloc(0));
    const stream = spdy.openStream({ streamType: 'stdin' }, () => undefined);
    sent.length = 0;
    stream.write(Buffer.from('x'));
    stream.end();
    stream.end();
    stream.write(Buffer.from('y'));
    const frames = createFrameReader()(Buffer.concat(sent));
    assert.deepEqual(
      frames.map((frame) => frame.type === 'data' && [frame.data.toString(), frame.fin]),
      [
        ['x', false],
        ['', true],
      ],
    );
    spdy.destroy();
  });

  it('answers pings of the server, ends streams that are reset, and all when the connection breaks', async () => {
    const { socket, sent, say, hangUp } = pair();
    const spdy = createSpdyConnection(socket, Buffer.alloc(0));
    const reset = spdy.openStream({}, () => undefined);
    const cut = spdy.openStream({}, () => undefined);
    sent.length = 0;
    say(Buffer.from('800300060000000400000002', 'hex'));
    say(rstStreamFrame(1, 5));
    await reset.ended;
    assert.equal(Buffer.concat(sent).toString('hex'), '800300060000000400000002');
    hangUp();
    await Promise.all([cut.ended, spdy.closed]);
  });

  it('closes a connection that speaks something else', async () => {
    const { socket, say } = pair();
    const spdy = createSpdyConnection(socket, Buffer.alloc(0));
    say(Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n'));
    say(Buffer.from([0x80, 9, 0, 0, 0, 0, 0, 0]));
    spdy.destroy();
    await spdy.closed;
  });
});
