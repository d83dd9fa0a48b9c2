// The body of a POST that is not stored: reviews, token requests, evictions, bindings.
import type { KubeObject } from '#kube/api/resource.ts';
import type { ApiContext } from '../api-context.ts';
import { decodeAs, type ExpectedKind, parseBody, parseFieldValidation } from '../http/decode-body.ts';
import type { Exchange } from '../http/exchange.ts';
import { readBody } from '../http/read-body.ts';

/** Reads and checks the posted object. Throws StatusError. */
export async function readPosted(api: ApiContext, exchange: Exchange, kind: ExpectedKind): Promise<KubeObject> {
  const { request, info } = exchange;
  const { schema } = api.registry;
  const body = parseBody(await readBody(request), request.headers['content-type'], kind.kind, exchange.protobuf);
  const warn = (text: string) => exchange.warnings.push(text);
  return decodeAs(body, kind, schema, parseFieldValidation(info), warn);
}
