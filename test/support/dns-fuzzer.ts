// Packets that were DNS before they were spoilt, or never were: the same for the same seed.
import { encode } from 'dns-packet';

export type Random = (below: number) => number;

/** Pseudo-random whole numbers from 0, below what is asked for. */
export function createRandom(seed: number): Random {
  let state = (seed % 2147483646) + 1;
  return (below) => {
    state = (state * 48271) % 2147483647;
    return state % below;
  };
}

const types = ['A', 'AAAA', 'SRV', 'PTR', 'TXT', 'SOA', 'NS', 'CNAME', 'ANY', 'OPT', 'AXFR', 'HINFO'];
const names = [
  'web.ns.svc.cluster.local',
  'many.ns.svc.cluster.local',
  '_http._tcp.web.ns.svc.cluster.local',
  'alias.ns.svc.cluster.local',
  'loop.ns.svc.cluster.local',
  'wrong.ns.svc.cluster.local',
  '10-1-2-3.ns.pod.cluster.local',
  '7.0.96.10.in-addr.arpa',
  'ip6.arpa',
  'example.com',
  '.',
];

const bytesOf = (random: Random, most: number): Buffer =>
  Buffer.from(Array.from({ length: random(most) }, () => random(256)));

function pick<T>(random: Random, list: readonly T[]): T {
  return list[random(list.length)] as T;
}

export function question(name: string, type = 'A', id = 7): Buffer {
  return encode({ id, type: 'query', flags: 0x100, questions: [{ name, type }] });
}

function withEdns(random: Random, packet: Buffer): Buffer {
  const data = bytesOf(random, 30);
  const opt = Buffer.alloc(11);
  opt.writeUInt16BE(41, 1);
  opt.writeUInt16BE(random(65_536), 3);
  opt.writeUInt32BE(random(2 ** 31), 5);
  opt.writeUInt16BE(random(3) === 0 ? random(65_536) : data.length, 9);
  packet.writeUInt16BE(random(4), 10);
  return Buffer.concat([packet, opt, data, random(3) === 0 ? opt : Buffer.alloc(0)]);
}

type Spoil = (random: Random, packet: Buffer) => Buffer;

const ways: Spoil[] = [
  (_, packet) => packet,
  (random) => bytesOf(random, 1500),
  (random, packet) => packet.subarray(0, random(packet.length)),
  (random, packet) => Buffer.concat([packet, bytesOf(random, 300)]),
  withEdns,
  // Counts of what is not there.
  (random, packet) => {
    packet.writeUInt16BE(random(65_536), 4 + 2 * random(4));
    return packet;
  },
  // Opcodes and flags.
  (random, packet) => {
    packet.writeUInt16BE(random(65_536), 2);
    return packet;
  },
  // Names that point: at themselves, forward, into the header.
  (random, packet) => {
    const at = 12 + random(Math.max(1, packet.length - 14));
    packet.writeUInt16BE(0xc000 | random(random(2) === 0 ? packet.length + 8 : 0x4000), at);
    return packet;
  },
  // Labels of any length with any bytes.
  (random, packet) => {
    const labels = Array.from({ length: random(140) }, () => {
      const label = bytesOf(random, 64);
      return Buffer.concat([Buffer.from([random(9) === 0 ? random(256) : label.length]), label]);
    });
    return Buffer.concat([packet.subarray(0, 12), ...labels, Buffer.alloc(1), packet.subarray(-4)]);
  },
  (random, packet) => {
    for (let i = random(12); i >= 0; i -= 1) packet[random(packet.length)] = random(256);
    return packet;
  },
];

/** One packet to be sent to a DNS server. */
export function spoiltPacket(random: Random): Buffer {
  const packet = Buffer.from(question(pick(random, names), pick(random, types), random(65_536)));
  return pick(random, ways)(random, packet);
}

/** A stream to be written to a DNS server over TCP: lengths that are right, and lengths that are not. */
export function spoiltStream(random: Random): Buffer {
  const parts = Array.from({ length: 1 + random(8) }, () => {
    const packet = spoiltPacket(random);
    const length = Buffer.alloc(2);
    length.writeUInt16BE(random(6) === 0 ? random(65_536) : packet.length);
    return Buffer.concat([length, packet]);
  });
  return Buffer.concat(parts);
}
