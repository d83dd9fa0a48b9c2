// The API client: verbs of the Kubernetes API on top of the transport.
import { apiVersionOf, type KubeList, type KubeObject, type Resource, resourcePath } from '../api/resource.ts';
import { errorOfAnswer } from './answer.ts';
import type { TextAnswer } from './buffered-call.ts';
import type { ClientConfig } from './config.ts';
import { retryAfterSeconds } from './retry.ts';
import { createTransport, type HttpRequest } from './transport.ts';
import type {
  ApiClient,
  CallOptions,
  ListOptions,
  ObjectKey,
  PatchOptions,
  PatchType,
  WatchEvent,
  WatchOptions,
  WriteOptions,
} from './types.ts';
import { decodeWatchEvent, splitLines } from './watch-stream.ts';

const patchContentTypes: Record<PatchType, string> = {
  merge: 'application/merge-patch+json',
  strategic: 'application/strategic-merge-patch+json',
  json: 'application/json-patch+json',
  apply: 'application/apply-patch+yaml',
};

type Headers = Record<string, string | string[] | undefined>;

function isSuccess({ statusCode }: { statusCode: number }): boolean {
  return statusCode >= 200 && statusCode < 300;
}

type Query = Record<string, string | number | boolean | undefined>;

function withQuery(path: string, query: Query): string {
  const text = Object.entries(query)
    .filter(([, value]) => value !== undefined && value !== '' && value !== false)
    .map(([name, value]) => `${name}=${encodeURIComponent(String(value))}`)
    .join('&');
  return text === '' ? path : `${path}?${text}`;
}

function listQuery(options: ListOptions): Query {
  const { labelSelector, fieldSelector, resourceVersion, resourceVersionMatch, limit } = options;
  return { labelSelector, fieldSelector, resourceVersion, resourceVersionMatch, limit, continue: options.continue };
}

function writeQuery({ dryRun, fieldManager }: WriteOptions): Query {
  return { dryRun: dryRun === true ? 'All' : undefined, fieldManager };
}

/** An object as it is sent: with the type that its path says. */
function typed(resource: Resource, object: object): string {
  return JSON.stringify({ apiVersion: apiVersionOf(resource), kind: resource.kind, ...object });
}

function bounds({ signal, timeoutMs }: CallOptions): Pick<HttpRequest, 'signal' | 'timeoutMs'> {
  return { signal, timeoutMs };
}

/** Builds a client; no connection is made before the first call. Throws ClientConfigError for a bad address. */
export function createClient(config: ClientConfig): ApiClient {
  const transport = createTransport(config);

  function refused(request: HttpRequest, answer: { statusCode: number; headers: Headers }, text: string): Error {
    const wait = retryAfterSeconds(answer.headers);
    return errorOfAnswer(`${request.method} ${request.path}`, answer.statusCode, text, wait);
  }

  async function answerOf(request: HttpRequest): Promise<TextAnswer> {
    const answer = await transport.call(request);
    if (!isSuccess(answer)) throw refused(request, answer, answer.text);
    return answer;
  }

  async function send<R>(
    method: HttpRequest['method'],
    path: string,
    body: string | undefined,
    options: CallOptions,
    contentType = 'application/json',
  ): Promise<R> {
    const headers = body === undefined ? undefined : { 'content-type': contentType };
    const answer = await answerOf({ method, path, body, headers, ...bounds(options) });
    return JSON.parse(answer.text) as R;
  }

  async function* watch<T extends KubeObject>(
    resource: Resource<T>,
    options: WatchOptions,
  ): AsyncGenerator<WatchEvent<T>> {
    const { allowWatchBookmarks, sendInitialEvents, timeoutSeconds } = options;
    const query = { ...listQuery(options), watch: true, allowWatchBookmarks, sendInitialEvents, timeoutSeconds };
    const request = {
      method: 'GET' as const,
      path: withQuery(resourcePath(resource, { namespace: options.namespace }), query),
      idleTimeoutMs: timeoutSeconds === undefined ? 0 : (timeoutSeconds + 30) * 1000,
      ...bounds(options),
    };
    const answer = await transport.stream(request);
    if (!isSuccess(answer)) throw refused(request, answer, await answer.body.text());
    for await (const line of splitLines(answer.body)) yield decodeWatchEvent<T>(line);
  }

  return {
    get: async (resource, key, options = {}) => send('GET', resourcePath(resource, key), undefined, options),
    list: async <T extends KubeObject>(resource: Resource<T>, options: ListOptions = {}) => {
      const path = withQuery(resourcePath(resource, { namespace: options.namespace }), listQuery(options));
      const list = await send<KubeList<T>>('GET', path, undefined, options);
      return { ...list, items: list.items ?? [] };
    },
    watch,
    create: async (resource, namespace, object, options = {}) => {
      const path = withQuery(resourcePath(resource, { namespace }), writeQuery(options));
      return send('POST', path, typed(resource, object), options);
    },
    createSubresource: async (resource, key, subresource, body, options = {}) => {
      const path = withQuery(resourcePath(resource, { ...key, subresource }), writeQuery(options));
      return send('POST', path, JSON.stringify(body), options);
    },
    update: async (resource, object, options = {}) => {
      const path = withQuery(resourcePath(resource, object.metadata), writeQuery(options));
      return send('PUT', path, typed(resource, object), options);
    },
    updateSubresource: async (resource, object, subresource, options = {}) => {
      const { namespace, name } = object.metadata;
      const path = withQuery(resourcePath(resource, { namespace, name, subresource }), writeQuery(options));
      return send('PUT', path, typed(resource, object), options);
    },
    updateScale: async (resource: Resource, key: ObjectKey, scale, options = {}) => {
      const path = withQuery(resourcePath(resource, { ...key, subresource: 'scale' }), writeQuery(options));
      return send('PUT', path, JSON.stringify(scale), options);
    },
    patch: async (resource, key, type, patch, options: PatchOptions = {}) => {
      const { subresource, force } = options;
      const query = { ...writeQuery(options), force };
      const path = withQuery(resourcePath(resource, { ...key, subresource }), query);
      return send('PATCH', path, JSON.stringify(patch), options, patchContentTypes[type]);
    },
    delete: async (resource, key, body, options = {}) => {
      const path = withQuery(resourcePath(resource, key), writeQuery(options));
      await send('DELETE', path, body === undefined ? undefined : JSON.stringify(body), options);
    },
    deleteCollection: async (resource, options, body) => {
      const path = withQuery(resourcePath(resource, { namespace: options.namespace }), listQuery(options));
      await send('DELETE', path, body === undefined ? undefined : JSON.stringify(body), options);
    },
    raw: async <R>({ method, path, body, headers, ...options }: Parameters<ApiClient['raw']>[0]) => {
      const isText = body === undefined || typeof body === 'string';
      const answer = await answerOf({
        method,
        path,
        body: isText ? body : JSON.stringify(body),
        headers: isText ? headers : { 'content-type': 'application/json', ...headers },
        ...bounds(options),
      });
      const isJson = String(answer.headers['content-type'] ?? '').includes('json');
      return (isJson && answer.text !== '' ? JSON.parse(answer.text) : answer.text) as R;
    },
    close: async () => transport.close(),
  };
}
