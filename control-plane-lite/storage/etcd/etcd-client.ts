// The few calls of etcd's v3 API that the store makes, as promises and callbacks.
import { fileURLToPath } from 'node:url';
import {
  type ChannelCredentials,
  type Client,
  type ClientDuplexStream,
  credentials,
  loadPackageDefinition,
} from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';

export interface KeyValue {
  key: Buffer;
  modRevision: number;
  value: Buffer;
}

export interface RangeRequest {
  key: Buffer;
  rangeEnd?: Buffer;
  limit?: number;
  revision?: number;
}

export interface RangeResponse {
  revision: number;
  kvs: KeyValue[];
  more: boolean;
}

export interface WatchedEvent {
  type: 'PUT' | 'DELETE';
  kv: KeyValue;
  prevKv: KeyValue | undefined;
}

export interface WatchHandlers {
  created(): void;
  events(events: WatchedEvent[], revision: number): void;
  /** The stream is over; `compactRevision` is set when the revision to start from is gone. */
  ended(error: Error, compactRevision: number | undefined): void;
}

export interface EtcdClient {
  range(request: RangeRequest): Promise<RangeResponse>;
  /** Puts, or deletes where `value` is undefined, if the key still has that revision (0: does not exist). */
  replace(
    key: Buffer,
    expectedRevision: number,
    value: Buffer | undefined,
  ): Promise<{ succeeded: boolean; revision: number }>;
  compact(revision: number): Promise<void>;
  /** Watches a range from a revision on. Returns how to stop. */
  watch(key: Buffer, rangeEnd: Buffer, startRevision: number, handlers: WatchHandlers): () => void;
  close(): void;
}

export interface EtcdTls {
  caPem: string | undefined;
  certPem: string | undefined;
  keyPem: string | undefined;
}

interface Header {
  revision: number;
}

type Call = (
  request: object,
  options: { deadline: number },
  done: (error: Error | null, answer: unknown) => void,
) => void;

interface Services {
  kv: Client & { range: Call; txn: Call; compact: Call };
  watch: Client & { watch(): ClientDuplexStream<object, unknown> };
}

const protoFile = new URL('../../../proto/etcd/rpc.proto', import.meta.url);
const callTimeoutMs = 10_000;
const maxMessageBytes = 64 * 1024 * 1024;

/** `http://a:2379,http://b:2379` as a gRPC target. Throws for addresses that cannot be used together. */
export function parseEndpoints(text: string): { target: string; isSecure: boolean } {
  const urls = text.split(',').map((each) => new URL(each.includes('://') ? each : `http://${each}`));
  const [first] = urls;
  if (first === undefined || urls.some(({ protocol }) => protocol !== first.protocol)) {
    throw new Error('the endpoints of etcd must all be http or all be https');
  }
  if (first.protocol !== 'http:' && first.protocol !== 'https:')
    throw new Error(`${first.href} is not an address of etcd`);
  const hosts = urls.map(({ hostname, port }) => `${hostname}:${port === '' ? '2379' : port}`);
  return {
    target: hosts.length === 1 ? `dns:///${hosts[0]}` : `ipv4:${hosts.join(',')}`,
    isSecure: first.protocol === 'https:',
  };
}

function channelCredentials(isSecure: boolean, tls: EtcdTls): ChannelCredentials {
  if (!isSecure) return credentials.createInsecure();
  const bytes = (pem: string | undefined) => (pem === undefined ? null : Buffer.from(pem));
  return credentials.createSsl(bytes(tls.caPem), bytes(tls.keyPem), bytes(tls.certPem));
}

function openServices(target: string, creds: ChannelCredentials): Services {
  const options = { keepCase: false, longs: Number, enums: String, defaults: true, oneofs: true } as const;
  const definition = loadPackageDefinition(loadSync(fileURLToPath(protoFile), options));
  // The package definition is untyped; the proto file says what is in it.
  const { KV, Watch } = definition['etcdserverpb'] as unknown as Record<
    'KV' | 'Watch',
    new (
      ...args: unknown[]
    ) => Client
  >;
  const channelOptions = {
    'grpc.max_receive_message_length': maxMessageBytes,
    'grpc.max_send_message_length': maxMessageBytes,
    'grpc.keepalive_time_ms': 30_000,
    'grpc.keepalive_timeout_ms': 10_000,
  };
  return {
    kv: new KV(target, creds, channelOptions) as Services['kv'],
    watch: new Watch(target, creds, channelOptions) as Services['watch'],
  };
}

/** Connects at the first call. */
export function createEtcdClient(endpoints: string, tls: EtcdTls): EtcdClient {
  const { target, isSecure } = parseEndpoints(endpoints);
  const { kv, watch } = openServices(target, channelCredentials(isSecure, tls));
  const call = <A>(method: 'range' | 'txn' | 'compact', request: object): Promise<A> =>
    new Promise((resolve, reject) => {
      kv[method](request, { deadline: Date.now() + callTimeoutMs }, (error, answer) => {
        if (error === null) resolve(answer as A);
        else reject(error);
      });
    });
  return {
    range: async (request) => {
      const { header, kvs, more } = await call<{ header: Header; kvs: KeyValue[]; more: boolean }>('range', request);
      return { revision: header.revision, kvs, more };
    },
    replace: async (key, expectedRevision, value) => {
      const compare = [{ result: 'EQUAL', target: 'MOD', key, modRevision: expectedRevision }];
      const success = [value === undefined ? { requestDeleteRange: { key } } : { requestPut: { key, value } }];
      const { succeeded, header } = await call<{ succeeded: boolean; header: Header }>('txn', { compare, success });
      return { succeeded, revision: header.revision };
    },
    compact: async (revision) => {
      await call('compact', { revision, physical: false });
    },
    watch: (key, rangeEnd, startRevision, handlers) => {
      const stream = watch.watch();
      let isOver = false;
      const end = (error: Error, compactRevision?: number) => {
        if (isOver) return;
        isOver = true;
        handlers.ended(error, compactRevision);
      };
      stream.on('data', (answer) => {
        const { created, canceled, compactRevision, cancelReason, events, header } = answer as {
          created: boolean;
          canceled: boolean;
          compactRevision: number;
          cancelReason: string;
          events: { type: 'PUT' | 'DELETE'; kv: KeyValue; prevKv: KeyValue | null }[];
          header: Header;
        };
        if (created) handlers.created();
        if (canceled) {
          stream.cancel();
          end(new Error(`etcd ended the watch: ${cancelReason}`), compactRevision > 0 ? compactRevision : undefined);
          return;
        }
        if (events.length === 0) return;
        const seen = events.map((event) => ({ ...event, prevKv: event.prevKv ?? undefined }));
        handlers.events(seen, header.revision);
      });
      stream.on('error', (error: Error) => end(error));
      stream.on('end', () => end(new Error('etcd ended the watch')));
      stream.write({ createRequest: { key, rangeEnd, startRevision, prevKv: true, progressNotify: true } });
      return () => {
        isOver = true;
        stream.cancel();
      };
    },
    close: () => {
      kv.close();
      watch.close();
    },
  };
}
