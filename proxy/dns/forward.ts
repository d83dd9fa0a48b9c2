// Passes questions about names outside the cluster on to the machine's own resolvers.
import { createSocket } from 'node:dgram';
import { readFile } from 'node:fs/promises';
import { connect, isIP } from 'node:net';

const timeoutMs = 2000;

/** The servers named in resolv.conf text. */
export function parseNameservers(resolvConf: string): string[] {
  return [...resolvConf.matchAll(/^nameserver\s+(\S+)/gm)]
    .map((match) => match[1] ?? '')
    .filter((address) => isIP(address) !== 0);
}

export async function readNameservers(path: string): Promise<string[]> {
  try {
    return parseNameservers(await readFile(path, 'utf8'));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

/** The flag of an answer that did not fit into a datagram. */
const truncated = 0x0200;

/** Sends the packet to each server in turn until one answers, by TCP where its answer is too long. Throws the last failure. */
export async function forwardQuery(packet: Buffer, servers: readonly string[]): Promise<Buffer> {
  let last: unknown = new Error('the machine has no resolvers: /etc/resolv.conf names none');
  for (const server of servers) {
    try {
      const answer = await askServer(packet, server);
      const isCut = answer.length >= 4 && (answer.readUInt16BE(2) & truncated) !== 0;
      return isCut ? await askByTcp(packet, server).catch(() => answer) : answer;
    } catch (error) {
      last = error;
    }
  }
  throw last;
}

function askServer(packet: Buffer, server: string): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const socket = createSocket(isIP(server) === 6 ? 'udp6' : 'udp4');
    const finish = (result: Buffer | Error): void => {
      clearTimeout(timer);
      socket.close();
      if (result instanceof Error) reject(result);
      else resolve(result);
    };
    const timer = setTimeout(() => finish(new Error(`resolver ${server} did not answer`)), timeoutMs);
    socket.once('error', finish);
    socket.connect(53, server, () => socket.send(packet));
    socket.on('message', (answer) => {
      // Only an answer to this very question counts.
      if (answer.length >= 2 && answer.readUInt16BE(0) === packet.readUInt16BE(0)) finish(answer);
    });
  });
}

function askByTcp(packet: Buffer, server: string): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const length = Buffer.alloc(2);
    length.writeUInt16BE(packet.length);
    const socket = connect(53, server, () => socket.write(Buffer.concat([length, packet])));
    let received = Buffer.alloc(0);
    socket.setTimeout(timeoutMs, () => socket.destroy(new Error(`resolver ${server} did not answer by TCP`)));
    socket.on('error', reject);
    socket.on('close', () => reject(new Error(`resolver ${server} closed the connection`)));
    socket.on('data', (chunk) => {
      received = Buffer.concat([received, chunk]);
      if (received.length < 2 || received.length < 2 + received.readUInt16BE(0)) return;
      resolve(received.subarray(2, 2 + received.readUInt16BE(0)));
      socket.destroy();
    });
  });
}
