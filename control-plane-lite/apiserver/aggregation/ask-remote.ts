// The server's own requests to aggregated ones: whether they are there, and what they serve.
import { request as httpsRequest } from 'node:https';
import type { ProxyTarget } from '../proxy/forward.ts';

export interface RemoteAnswer {
  code: number;
  text: string;
}

/** As which the server asks. */
export const aggregatorUser = { username: 'system:kube-aggregator', groups: ['system:masters'] };

const timeoutMs = 5_000;
const maxBytes = 32 * 1024 * 1024;

/** GET of a path. Rejects when the server cannot be reached in time. */
export function askRemote(
  { url, tls, headers }: ProxyTarget,
  accept: string,
  stopping: AbortSignal,
): Promise<RemoteAnswer> {
  return new Promise((resolve, reject) => {
    const outgoing = httpsRequest(
      url,
      {
        headers: { ...headers, accept },
        agent: false,
        signal: AbortSignal.any([stopping, AbortSignal.timeout(timeoutMs)]),
        cert: tls?.certPem,
        key: tls?.keyPem,
        rejectUnauthorized: tls?.caPem !== undefined,
        ...(tls?.caPem === undefined ? {} : { ca: tls.caPem }),
        ...(tls?.serverName === undefined ? {} : { servername: tls.serverName }),
      },
      (answer) => {
        const parts: Buffer[] = [];
        let size = 0;
        answer.on('data', (part: Buffer) => {
          size += part.length;
          if (size > maxBytes) answer.destroy(new Error('the answer is too large'));
          else parts.push(part);
        });
        answer.on('end', () => resolve({ code: answer.statusCode ?? 500, text: Buffer.concat(parts).toString() }));
        answer.on('error', reject);
      },
    );
    outgoing.on('error', reject);
    outgoing.end();
  });
}
