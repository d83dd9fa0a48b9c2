// Reads /metrics/resource of an agent with the API server's own certificate.
import { Agent, request } from 'node:https';
import type { KeyPair } from '../../pki/certificate-authority.ts';
import type { ObjectReader } from '../../registry/object-reader.ts';
import { agentUrl } from '../proxy/backend-address.ts';

const timeoutMs = 10_000;
/** More than any node has to say. */
const maxBytes = 32 * 1024 * 1024;

export interface AgentScraper {
  /** Rejects when the agent cannot be reached, refuses, or says too much. */
  scrape(nodeName: string, signal: AbortSignal): Promise<string>;
  close(): void;
}

/** Connections stay open between two scrapes. `caPem` verifies the agents' certificates; undefined: not verified. */
export function createAgentScraper(objects: ObjectReader, client: KeyPair, caPem: string | undefined): AgentScraper {
  const agent = new Agent({
    keepAlive: true,
    maxFreeSockets: 256,
    cert: client.certPem,
    key: client.keyPem,
    rejectUnauthorized: caPem !== undefined,
    ...(caPem === undefined ? {} : { ca: caPem }),
  });

  function read(url: URL, signal: AbortSignal): Promise<string> {
    return new Promise((resolve, reject) => {
      const outgoing = request(url, { agent, signal: AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]) });
      outgoing.once('error', reject);
      outgoing.once('response', (answer) => {
        const chunks: Buffer[] = [];
        let size = 0;
        answer.on('data', (chunk: Buffer) => {
          size += chunk.length;
          if (size > maxBytes) answer.destroy(new Error(`${url.host} answered with more than ${maxBytes} bytes`));
          else chunks.push(chunk);
        });
        answer.once('error', reject);
        answer.once('end', () => {
          if (answer.statusCode === 200) resolve(Buffer.concat(chunks).toString());
          else reject(new Error(`${url.href} answered ${answer.statusCode}`));
        });
      });
      outgoing.end();
    });
  }

  return {
    scrape: async (nodeName, signal) => await read(new URL('/metrics/resource', agentUrl(objects, nodeName)), signal),
    close: () => agent.destroy(),
  };
}
