// A plain HTTPS client for load: keep-alive connections with the administrator's certificate, no retries, no decoding.
import { readFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { Agent, request } from 'node:https';
import { parse } from 'yaml';

interface KubeconfigFile {
  clusters: { cluster: { server: string; 'certificate-authority-data': string } }[];
  users: { user: { 'client-certificate-data': string; 'client-key-data': string } }[];
}

export interface LoadClient {
  /** Answers the status and the whole body. */
  call(method: string, path: string, body?: string): Promise<{ status: number; body: Buffer }>;
  /** Calls `line` for every line of a stream until `stop` is called; one that is `paused` is never read. */
  stream(path: string, line: (text: string) => void, options?: { paused?: boolean }): () => void;
  close(): void;
}

const decode = (base64: string): Buffer => Buffer.from(base64, 'base64');

function readBody(response: IncomingMessage): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    response.on('data', (chunk: Buffer) => chunks.push(chunk));
    response.on('end', () => resolve(Buffer.concat(chunks)));
    response.on('error', reject);
  });
}

/** `connections` calls are in flight at most; streams have connections of their own. */
export function createLoadClient(kubeconfigPath: string, connections: number, server?: string): LoadClient {
  const config = parse(readFileSync(kubeconfigPath, 'utf8')) as KubeconfigFile;
  const cluster = config.clusters[0]?.cluster;
  const user = config.users[0]?.user;
  if (cluster === undefined || user === undefined) throw new Error(`${kubeconfigPath} has no cluster or user`);
  const tls = {
    ca: decode(cluster['certificate-authority-data']),
    cert: decode(user['client-certificate-data']),
    key: decode(user['client-key-data']),
    rejectUnauthorized: false,
  };
  const agent = new Agent({ keepAlive: true, maxSockets: connections, ...tls });
  const streams = new Agent({ ...tls });
  const base = new URL(server ?? cluster.server);
  const options = (path: string) => ({ host: base.hostname, port: base.port, path });
  return {
    call: (method, path, body) =>
      new Promise((resolve, reject) => {
        const headers =
          body === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
        const outgoing = request({ ...options(path), method, agent, headers }, (response) => {
          readBody(response).then((bytes) => resolve({ status: response.statusCode ?? 0, body: bytes }), reject);
        });
        outgoing.on('error', reject);
        outgoing.end(body);
      }),
    stream: (path, line, { paused = false } = {}) => {
      const outgoing = request({ ...options(path), method: 'GET', agent: streams }, (response) => {
        let rest = '';
        response.setEncoding('utf8');
        response.on('error', () => undefined);
        if (paused) return;
        response.on('data', (text: string) => {
          const lines = (rest + text).split('\n');
          rest = lines.pop() ?? '';
          for (const each of lines) line(each);
        });
      });
      outgoing.on('error', () => undefined);
      outgoing.end();
      return () => {
        outgoing.destroy();
      };
    },
    close: () => {
      agent.destroy();
      streams.destroy();
    },
  };
}

/** Makes a call and throws unless it was answered with 2xx. */
export async function mustCall(client: LoadClient, method: string, path: string, body?: object): Promise<Buffer> {
  const answer = await client.call(method, path, body === undefined ? undefined : JSON.stringify(body));
  if (answer.status >= 300)
    throw new Error(`${method} ${path}: ${answer.status} ${answer.body.toString().slice(0, 300)}`);
  return answer.body;
}
