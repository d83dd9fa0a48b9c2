// What a client needs to know to reach an API server: addresses, trust, and who it is.
import type { Clock } from '../process/clock.ts';

/** A client certificate with its key, both PEM. */
export interface ClientCertificate {
  certPem: string;
  keyPem: string;
}

/** What to present on a connection now. */
export interface Identity {
  /** Value of the Authorization header. */
  authorization?: string | undefined;
  certificate?: ClientCertificate | undefined;
}

/** Where the identity comes from. Called before every request, so it must be quick when nothing changed. */
export interface Credentials {
  current(signal?: AbortSignal): Promise<Identity>;
  /** The server answered 401: do not hand out this identity from a cache again. */
  rejected?(): void;
}

/** Told of every answer, for metrics. `code` is `<error>` where there was no answer. */
export interface RequestObserver {
  finished(request: FinishedRequest): void;
  /** Told how long a request waited for its turn, where the client limits itself. */
  limited?(request: { method: string; host: string; waitedMs: number }): void;
}

/** One attempt of a request. */
export interface FinishedRequest {
  method: string;
  host: string;
  code: string;
  durationMs: number;
  /** Sizes of bodies; that of an answer is absent where there is none or it is a stream. */
  requestBytes: number;
  responseBytes?: number | undefined;
}

export interface ClientConfig {
  /** Base URLs of equal API servers, tried in order when one cannot be reached. */
  servers: readonly string[];
  /** Trusted authorities, PEM; the system's where absent. */
  caPem?: string | undefined;
  insecureSkipTlsVerify?: boolean | undefined;
  /** Name expected in the server's certificate, where it is not the URL's host. */
  tlsServerName?: string | undefined;
  credentials?: Credentials | undefined;
  /** Namespace of the kubeconfig's context. */
  namespace?: string | undefined;
  /** Appended to the user agent: `berth/VERSION NAME`. */
  name?: string | undefined;
  /** Requests a second, on average and at once; absent: no limit on the client's side. */
  qps?: number | undefined;
  burst?: number | undefined;
  observer?: RequestObserver | undefined;
  /** Whether streams share connections (HTTP/2), for who has very many of them; a connection each where absent. */
  sharesStreams?: boolean | undefined;
  clock?: Clock | undefined;
}

/** Credentials that never change. */
export function fixedCredentials(identity: Identity): Credentials {
  return { current: async () => identity };
}

/** A configuration that cannot be used: the message says what is wrong, in which file. */
export class ClientConfigError extends Error {
  readonly code = 'CLIENT_CONFIG';

  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'ClientConfigError';
  }
}

/** The client was closed: no call of it will ever succeed again. */
export class ClientClosedError extends Error {
  readonly code = 'CLIENT_CLOSED';

  constructor() {
    super('the API client was closed');
    this.name = 'ClientClosedError';
  }
}
