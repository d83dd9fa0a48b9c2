// Users by client certificate: common name is the user, organizations are groups. TLS has verified the chain.
import { TLSSocket } from 'node:tls';
import type { UserInfo } from '../registry/request-context.ts';
import { type Authenticator, authenticated, unauthorized } from './authenticator.ts';

interface PeerSubject {
  CN?: string | string[];
  O?: string | string[];
}

const listOf = (value: string | string[] | undefined): string[] =>
  value === undefined ? [] : Array.isArray(value) ? value : [value];

/** A certificate is read once per connection. */
export function createClientCertificateAuthenticator(): Authenticator {
  const known = new WeakMap<TLSSocket, UserInfo | 'none' | 'wrong'>();
  const read = (socket: TLSSocket): UserInfo | 'none' | 'wrong' => {
    const certificate = socket.getPeerCertificate();
    if (certificate === null || Object.keys(certificate).length === 0) return 'none';
    if (!socket.authorized) return 'wrong';
    const subject = certificate.subject as PeerSubject;
    const [username] = listOf(subject.CN);
    if (username === undefined) return 'wrong';
    const fingerprint = certificate.fingerprint256.replaceAll(':', '').toLowerCase();
    const extra = { 'authentication.kubernetes.io/credential-id': [`X509SHA256=${fingerprint}`] };
    return authenticated({ username, groups: listOf(subject.O), extra });
  };
  return (request) => {
    const { socket } = request;
    if (!(socket instanceof TLSSocket)) return undefined;
    let user = known.get(socket);
    if (user === undefined) {
      user = read(socket);
      known.set(socket, user);
    }
    if (user === 'wrong') throw unauthorized();
    return user === 'none' ? undefined : user;
  };
}
