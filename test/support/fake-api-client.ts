// An ApiClient of which a test provides only the calls it expects; every other call fails the test.
import type { ApiClient } from '#kube/client/types.ts';

/** Calls that are not in `calls` throw. */
export function fakeApiClient(calls: Partial<ApiClient>): ApiClient {
  const unexpected = (name: string) => () => {
    throw new Error(`unexpected call of ${name}`);
  };
  return {
    get: unexpected('get'),
    list: unexpected('list'),
    watch: unexpected('watch'),
    create: unexpected('create'),
    createSubresource: unexpected('createSubresource'),
    update: unexpected('update'),
    updateSubresource: unexpected('updateSubresource'),
    updateScale: unexpected('updateScale'),
    patch: unexpected('patch'),
    delete: unexpected('delete'),
    deleteCollection: unexpected('deleteCollection'),
    raw: unexpected('raw'),
    close: async () => undefined,
    ...calls,
  };
}
