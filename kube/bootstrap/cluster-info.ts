// The ConfigMap cluster-info in kube-public, by which a machine that holds a bootstrap token learns whom to trust: a
// kubeconfig without credentials, signed once with each token (Kubernetes' token discovery).
import { createHash, createHmac, timingSafeEqual, X509Certificate } from 'node:crypto';

export const clusterInfoName = 'cluster-info';
export const clusterInfoNamespace = 'kube-public';
const signaturePrefix = 'jws-kubeconfig-';

/** A bootstrap token taken apart. */
export interface BootstrapToken {
  id: string;
  secret: string;
}

/** Undefined for what has not the form `abcdef.0123456789abcdef`. */
export function parseBootstrapToken(text: string): BootstrapToken | undefined {
  const [, id, secret] = /^([a-z0-9]{6})\.([a-z0-9]{16})$/.exec(text) ?? [];
  return id === undefined || secret === undefined ? undefined : { id, secret };
}

/** The key of a token's signature in the ConfigMap's data. */
export function signatureKey(tokenId: string): string {
  return `${signaturePrefix}${tokenId}`;
}

/** The id of the token that a key of the data is the signature of; undefined for other keys. */
export function tokenIdOfKey(key: string): string | undefined {
  return key.startsWith(signaturePrefix) ? key.slice(signaturePrefix.length) : undefined;
}

/** A JWS in compact form, HS256, without the content it signs. */
export function signKubeconfig(kubeconfig: string, { id, secret }: BootstrapToken): string {
  const header = Buffer.from(JSON.stringify({ alg: 'HS256', kid: id })).toString('base64url');
  const content = Buffer.from(kubeconfig).toString('base64url');
  const signature = createHmac('sha256', secret).update(`${header}.${content}`).digest('base64url');
  return `${header}..${signature}`;
}

/** Whether the signature was made of the kubeconfig with the token. */
export function isSignedBy(kubeconfig: string, token: BootstrapToken, signature: string): boolean {
  const [header = '', , given = ''] = signature.split('.');
  const content = Buffer.from(kubeconfig).toString('base64url');
  const made = createHmac('sha256', token.secret).update(`${header}.${content}`).digest();
  const claimed = Buffer.from(given, 'base64url');
  return claimed.length === made.length && timingSafeEqual(claimed, made);
}

/** The hash by which an authority is pinned: `sha256:` and the hex of its public key's SubjectPublicKeyInfo. */
export function publicKeyPin(certificatePem: string): string {
  const { publicKey } = new X509Certificate(certificatePem);
  return `sha256:${createHash('sha256')
    .update(publicKey.export({ type: 'spki', format: 'der' }))
    .digest('hex')}`;
}
