// One request to the API server of a test's cluster, of any method, whose answer is told as it is: redirects are not
// followed.
import type { IncomingHttpHeaders } from 'node:http';
import { request } from 'node:https';
import { text } from 'node:stream/consumers';
import type { ClientConfig } from '#kube/client/config.ts';

export interface RawAnswer {
  status: number;
  headers: IncomingHttpHeaders;
  body: string;
}

export async function rawRequest(config: ClientConfig, method: string, path: string): Promise<RawAnswer> {
  const { certificate } = (await config.credentials?.current()) ?? {};
  const identity = certificate === undefined ? {} : { cert: certificate.certPem, key: certificate.keyPem };
  const { caPem, servers } = config;
  const trust = caPem === undefined ? {} : { ca: caPem };
  return new Promise((resolve, reject) => {
    const signal = AbortSignal.timeout(30_000);
    const outgoing = request(`${servers[0]}${path}`, { method, signal, ...trust, ...identity }, (answer) => {
      const { statusCode = 0, headers } = answer;
      text(answer).then((body) => resolve({ status: statusCode, headers, body }), reject);
    });
    outgoing.once('error', reject);
    outgoing.end();
  });
}
