// OpenAPI v2 as JSON, for clients that do not ask for v3: the definitions, and which paths there are.
import type { ResourceTable } from '../../registry/resource-table.ts';
import type { Schema } from '../../registry/schema.ts';
import { sendBytes } from '../http/exchange.ts';
import type { PathHandler } from '../non-resource.ts';
import { gitVersion } from '../version.ts';

/** Serves /openapi/v2; the document is built when first asked for. */
export function createOpenApiV2Handler(schema: Schema, table: ResourceTable): PathHandler {
  let document: Buffer | undefined;
  return (exchange) => {
    if (exchange.info.path !== '/openapi/v2') return false;
    document ??= Buffer.from(
      JSON.stringify({
        swagger: '2.0',
        info: { title: 'Kubernetes', version: gitVersion },
        paths: Object.fromEntries(
          table.all.map(({ resource, apiVersion }) => [
            `${resource.group === '' ? '/api' : '/apis'}/${apiVersion}/${resource.plural}`,
            {},
          ]),
        ),
        definitions: schema.definitions,
      }),
    );
    sendBytes(exchange, 200, 'application/json', document);
    return true;
  };
}
