// Asks a runtime's streaming server to turn a connection into SPDY/3.1.
import { request } from 'node:http';
import type { Duplex } from 'node:stream';

/** A connection that speaks SPDY from here on. */
export interface UpgradedConnection {
  socket: Duplex;
  /** What came together with the answer. */
  head: Buffer;
  /** The stream protocol that the server chose of those offered. */
  protocol: string;
}

/** A server that did not upgrade; `status` is its answer's. */
export class UpgradeRefusedError extends Error {
  readonly code = 'UPGRADE_REFUSED';
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

const timeoutMs = 30_000;

/** Rejects with UpgradeRefusedError, or with the connection's error. */
export function upgradeToSpdy(url: URL, protocols: readonly string[]): Promise<UpgradedConnection> {
  return new Promise((resolve, reject) => {
    const outgoing = request(url, {
      method: 'POST',
      agent: false,
      timeout: timeoutMs,
      headers: { Connection: 'Upgrade', Upgrade: 'SPDY/3.1', 'X-Stream-Protocol-Version': [...protocols] },
    });
    outgoing.once('upgrade', (answer, socket, head) => {
      const protocol = answer.headers['x-stream-protocol-version'];
      socket.setTimeout(0);
      socket.setNoDelay(true);
      resolve({ socket, head, protocol: String(protocol ?? '') });
    });
    outgoing.once('response', (answer) => {
      const parts: Buffer[] = [];
      answer.on('data', (part: Buffer) => void parts.push(part));
      answer.once('close', () => {
        const text = Buffer.concat(parts).toString('utf8').trim();
        reject(new UpgradeRefusedError(answer.statusCode ?? 500, text === '' ? 'the runtime did not upgrade' : text));
      });
    });
    outgoing.once('timeout', () => outgoing.destroy(new Error('the runtime did not answer the upgrade in 30 s')));
    outgoing.once('error', reject);
    outgoing.end();
  });
}
