// An API server in the test's own process: temporary folders, a free port, no controllers.
import { mkdtemp, rm } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { createApiServer } from '../../../control-plane-lite/apiserver/create-api-server.ts';
import { parseControlPlaneConfig } from '../../../control-plane-lite/config.ts';
import {
  type ClusterPki,
  ensureClusterPki,
  issueClientCertificate,
  type KeyPair,
} from '../../../control-plane-lite/pki/index.ts';
import { applyDefaults } from '../../../control-plane-lite/registry/defaulting/apply-defaults.ts';
import { printerFor } from '../../../control-plane-lite/registry/tables/printer-for.ts';
import { validateCreate, validateUpdate } from '../../../control-plane-lite/registry/validation/validate.ts';
import type { Backend } from '../../../control-plane-lite/storage/backend.ts';
import { openLmdbBackend } from '../../../control-plane-lite/storage/lmdb/lmdb-backend.ts';
import { systemClock } from '../../../kube/process/clock.ts';

export interface Answer<T = Record<string, unknown>> {
  status: number;
  headers: IncomingMessage['headers'];
  text: string;
  bytes: Buffer;
  body: T;
}

export interface CallOptions {
  body?: unknown;
  contentType?: string;
  headers?: Record<string, string>;
  /** Absent: the administrator. Null: nobody. */
  as?: KeyPair | null;
}

export interface TestServer {
  port: number;
  pki: ClusterPki;
  call<T = Record<string, unknown>>(method: string, path: string, options?: CallOptions): Promise<Answer<T>>;
  /** An answer that goes on: destroy it when enough was read. */
  open(method: string, path: string, options?: CallOptions): Promise<IncomingMessage>;
  /** Lines of a stream until `until` is true of one of them. */
  stream(path: string, until: (line: string) => boolean, options?: CallOptions): Promise<string[]>;
  /** Forgets all history. */
  compact(): Promise<void>;
  /** Stops it and starts it again on the same data and the same port. */
  restart(): Promise<void>;
  user(commonName: string, ...organizations: string[]): Promise<KeyPair>;
  close(): Promise<void>;
}

interface RunningServer {
  port: number;
  pki: ClusterPki;
  backend: Backend;
  stop(): Promise<void>;
}

/** Runs a server on a directory, which may hold what an earlier one left. Port 0: a free one. */
async function runServer(dir: string, wanted: number, flags: readonly string[]): Promise<RunningServer> {
  const { config } = parseControlPlaneConfig([
    `--data-dir=${dir}/data`,
    `--pki-dir=${dir}/pki`,
    `--kubeconfig-dir=${dir}/kubeconfig`,
    '--bind-address=127.0.0.1',
    '--advertise-address=192.0.2.2',
    `--secure-port=${wanted}`,
    ...flags,
  ]);
  const pki = await ensureClusterPki({ dir: config.pkiDir, serverNames: ['10.96.0.1'], nowMs: Date.now() });
  const backend = await openLmdbBackend(config.dataDir);
  const listening = Promise.withResolvers<number>();
  const server = await createApiServer({
    config,
    backend,
    pki,
    agentCaPem: undefined,
    rules: { applyDefaults, validateCreate, validateUpdate },
    printerFor,
    clock: systemClock,
    logger: pino({ level: 'silent' }),
    listening: listening.resolve,
  });
  const stop = new AbortController();
  const ended = server.run(stop.signal);
  const port = await Promise.race([listening.promise, ended.then(() => Promise.reject(new Error('the server ended')))]);
  return {
    port,
    pki,
    backend,
    stop: async () => {
      stop.abort(new Error('the test is over'));
      await ended;
      await backend.close();
    },
  };
}

/** Starts a server, with further flags; close it in the test's end. */
export async function startApiServer(flags: readonly string[] = []): Promise<TestServer> {
  const dir = await mkdtemp(join(tmpdir(), 'berth-apiserver-'));
  let running = await runServer(dir, 0, flags);
  const { port, pki } = running;

  const open = (method: string, path: string, options: CallOptions = {}): Promise<IncomingMessage> =>
    new Promise((resolve, reject) => {
      const who = options.as === undefined ? pki.admin : options.as;
      const text =
        options.body === undefined || typeof options.body === 'string' || Buffer.isBuffer(options.body)
          ? options.body
          : JSON.stringify(options.body);
      const outgoing = httpsRequest(
        {
          host: '127.0.0.1',
          port,
          method,
          path,
          ca: pki.ca.certPem,
          ...(who === null ? {} : { cert: who.certPem, key: who.keyPem }),
          headers: {
            ...(text === undefined
              ? {}
              : {
                  'content-type': options.contentType ?? 'application/json',
                  'content-length': String(Buffer.byteLength(text)),
                }),
            ...options.headers,
          },
        },
        resolve,
      );
      outgoing.once('error', reject);
      outgoing.end(text);
    });

  return {
    port,
    pki,
    open,
    call: async <T>(method: string, path: string, options: CallOptions = {}) => {
      const answer = await open(method, path, options);
      const bytes = Buffer.concat((await answer.toArray()) as Buffer[]);
      const text = bytes.toString();
      const isJson = (answer.headers['content-type'] ?? '').includes('json');
      return {
        status: answer.statusCode ?? 0,
        headers: answer.headers,
        text,
        bytes,
        get body() {
          return (isJson && text !== '' ? JSON.parse(text) : {}) as T;
        },
      };
    },
    stream: async (path, until, options = {}) => {
      const answer = await open('GET', path, options);
      const lines: string[] = [];
      let rest = '';
      for await (const chunk of answer.setEncoding('utf8')) {
        const parts = (rest + chunk).split('\n');
        rest = parts.pop() ?? '';
        lines.push(...parts);
        if (parts.some(until)) break;
      }
      answer.destroy();
      return lines;
    },
    compact: () => running.backend.compact(running.backend.revision),
    restart: async () => {
      await running.stop();
      running = await runServer(dir, port, flags);
    },
    user: (commonName, ...organizations) => issueClientCertificate(pki, { commonName, organizations }),
    close: async () => {
      await running.stop();
      await rm(dir, { recursive: true, force: true });
    },
  };
}
