// Where requests for a remote API go, and how the server says there who asks.
import type { OutgoingHttpHeaders } from 'node:http';
import type { KeyPair } from '../../pki/certificate-authority.ts';
import type { ObjectReader } from '../../registry/object-reader.ts';
import type { UserInfo } from '../../registry/request-context.ts';
import { serviceEndpoint } from '../proxy/backend-address.ts';
import type { ProxyTarget } from '../proxy/forward.ts';
import type { RemoteApi } from './remote-api.ts';

/** Keys of extra information travel in names of headers: what no name has is escaped. */
function headerKey(key: string): string {
  return [...Buffer.from(key)]
    .map((byte) => {
      const character = String.fromCharCode(byte);
      return /[A-Za-z0-9!#$&'*+.^_`|~-]/.test(character)
        ? character.toLowerCase()
        : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
    })
    .join('');
}

/** A user as aggregated servers are told of it. */
export function userHeaders({ username, uid, groups, extra = {} }: UserInfo): OutgoingHttpHeaders {
  const more = Object.entries(extra).map(([key, values]) => [`x-remote-extra-${headerKey(key)}`, [...values]]);
  return {
    'x-remote-user': username,
    ...(uid === undefined ? {} : { 'x-remote-uid': uid }),
    'x-remote-group': [...groups],
    ...Object.fromEntries(more),
  };
}

/** One ready endpoint of the API's service. Throws StatusError 503 when there is none. */
export function remoteTarget(
  api: RemoteApi,
  objects: ObjectReader,
  client: KeyPair,
  pathAndQuery: string,
  user: UserInfo,
): ProxyTarget {
  const { service, caPem, isInsecure } = api;
  const { address, port } = serviceEndpoint(
    objects,
    service.namespace,
    { name: service.name, port: String(service.port) },
    Math.random(),
  );
  const host = `${service.name}.${service.namespace}.svc`;
  const base = `https://${address.includes(':') ? `[${address}]` : address}:${port}`;
  return {
    url: new URL(pathAndQuery, base),
    // Without a bundle the system's authorities decide.
    tls: { ...client, caPem: isInsecure ? undefined : (caPem ?? ''), serverName: host },
    headers: { host, ...userHeaders(user) },
  };
}
