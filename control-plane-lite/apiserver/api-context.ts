// What the handlers of the API share. One per server, made by the wiring.
import type { Logger } from 'pino';
import type { AskingAuthorizer } from '../authz/authorizer.ts';
import type { PrinterFor } from '../registry/kind-rules.ts';
import type { Registry } from '../registry/registry.ts';
import type { ServedResource } from '../registry/resource-table.ts';
import type { Exchange } from './http/exchange.ts';
import type { ProtobufCodec } from './protobuf/protobuf-codec.ts';
import type { WatchHub } from './watch/watch-hub.ts';

export interface ApiContext {
  registry: Registry;
  authorizer: AskingAuthorizer;
  printerFor: PrinterFor;
  watches: WatchHub;
  protobuf: ProtobufCodec;
  logger: Logger;
  nowMs: () => number;
  /** Aborted when the server stops: ends watches and proxied streams. */
  stopping: AbortSignal;
}

/** Serves one verb of one resource. */
export type ResourceHandler = (api: ApiContext, exchange: Exchange, served: ServedResource) => Promise<void> | void;

/** The namespace part of an object's key. */
export function namespaceOf(exchange: Exchange, served: ServedResource): string {
  return served.resource.namespaced ? exchange.info.namespace : '';
}
