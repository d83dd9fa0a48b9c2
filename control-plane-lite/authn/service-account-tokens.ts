// Service account tokens: JWTs bound to an account and maybe to a pod, node or secret. Signed here, checked here; a
// token is worth nothing once what it is bound to is gone.
import { randomUUID } from 'node:crypto';
import {
  calculateJwkThumbprint,
  exportJWK,
  importPKCS8,
  importSPKI,
  type JWK,
  type JWTPayload,
  jwtVerify,
  SignJWT,
} from 'jose';
import { nodes, pods, secrets, serviceaccounts } from '#kube/api/generated/resources.ts';
import type { ObjectReader } from '../registry/object-reader.ts';
import type { UserInfo } from '../registry/request-context.ts';
import { serviceAccountGroups } from './impersonation.ts';

const algorithm = 'ES256';
const privateClaim = 'kubernetes.io';
const cacheLimit = 4096;

export interface BoundObject {
  kind: 'Pod' | 'Node' | 'Secret';
  name: string;
  uid: string;
}

export interface TokenRequestData {
  namespace: string;
  account: { name: string; uid: string };
  audiences: readonly string[];
  bound?: BoundObject | undefined;
  /** The node that the bound pod runs on. */
  node?: { name: string; uid: string } | undefined;
  nowMs: number;
  lifetimeSeconds: number;
  /** A client that still uses the token after this long is noted as stale. */
  warnAfterSeconds?: number | undefined;
}

interface Reference {
  name: string;
  uid: string;
}

interface PrivateClaims {
  namespace: string;
  serviceaccount: Reference;
  pod?: Reference;
  node?: Reference;
  secret?: Reference;
}

export interface VerifiedToken {
  user: UserInfo;
  audiences: string[];
}

export interface ServiceAccountTokens {
  readonly issuer: string;
  /** Audiences for which this server is meant. */
  readonly audiences: readonly string[];
  issue(request: TokenRequestData): Promise<string>;
  /** Undefined for a token that is not one of ours or not valid (any more). */
  verify(token: string, nowMs: number): Promise<VerifiedToken | undefined>;
  /** The public keys, as /openid/v1/jwks shows them. */
  keys(): Promise<{ keys: JWK[] }>;
}

function isReference(value: unknown): value is Reference {
  const { name, uid } = (value ?? {}) as Partial<Reference>;
  return typeof name === 'string' && typeof uid === 'string';
}

function readClaims(payload: JWTPayload): PrivateClaims | undefined {
  const claims = payload[privateClaim] as Partial<PrivateClaims> | undefined;
  if (claims === undefined || typeof claims.namespace !== 'string' || !isReference(claims.serviceaccount))
    return undefined;
  return claims as PrivateClaims;
}

/** Whether everything a token is bound to is still there. */
function isAlive({ namespace, serviceaccount, pod, secret, node }: PrivateClaims, objects: ObjectReader): boolean {
  if (objects.get(serviceaccounts, namespace, serviceaccount.name)?.metadata.uid !== serviceaccount.uid) return false;
  if (pod !== undefined && objects.get(pods, namespace, pod.name)?.metadata.uid !== pod.uid) return false;
  if (secret !== undefined && objects.get(secrets, namespace, secret.name)?.metadata.uid !== secret.uid) return false;
  const isNodeBound = node !== undefined && pod === undefined;
  return !isNodeBound || objects.get(nodes, '', node.name)?.metadata.uid === node.uid;
}

function userOf({ namespace, serviceaccount, pod, node }: PrivateClaims, id: string | undefined): UserInfo {
  const extra: Record<string, string[]> = {};
  if (id !== undefined) extra['authentication.kubernetes.io/credential-id'] = [`JTI=${id}`];
  if (node !== undefined) {
    extra['authentication.kubernetes.io/node-name'] = [node.name];
    extra['authentication.kubernetes.io/node-uid'] = [node.uid];
  }
  if (pod !== undefined) {
    extra['authentication.kubernetes.io/pod-name'] = [pod.name];
    extra['authentication.kubernetes.io/pod-uid'] = [pod.uid];
  }
  return {
    username: `system:serviceaccount:${namespace}:${serviceaccount.name}`,
    uid: serviceaccount.uid,
    groups: serviceAccountGroups(namespace),
    extra,
  };
}

export async function createServiceAccountTokens(
  keys: { privatePem: string; publicPem: string },
  issuer: string,
  objects: ObjectReader,
): Promise<ServiceAccountTokens> {
  const signing = await importPKCS8(keys.privatePem, algorithm);
  const checking = await importSPKI(keys.publicPem, algorithm, { extractable: true });
  const jwk = await exportJWK(checking);
  const keyId = await calculateJwkThumbprint(jwk);
  const checked = new Map<string, JWTPayload>();

  const verifiedPayload = async (token: string): Promise<JWTPayload | undefined> => {
    const known = checked.get(token);
    if (known !== undefined) return known;
    try {
      // Times are checked at every use, by the caller's clock.
      const { payload } = await jwtVerify(token, checking, {
        issuer,
        algorithms: [algorithm],
        currentDate: new Date(0),
        clockTolerance: Number.MAX_SAFE_INTEGER,
      });
      if (checked.size >= cacheLimit) checked.clear();
      checked.set(token, payload);
      return payload;
    } catch {
      // Anybody may send anything: a token that does not verify is no token.
      return undefined;
    }
  };

  return {
    issuer,
    audiences: [issuer],
    issue: async (request) => {
      const { namespace, account, bound, node, audiences } = request;
      const now = Math.floor(request.nowMs / 1000);
      const claims: PrivateClaims & { warnafter?: number } = {
        namespace,
        serviceaccount: account,
        ...(bound === undefined ? {} : { [bound.kind.toLowerCase()]: { name: bound.name, uid: bound.uid } }),
        ...(node === undefined ? {} : { node }),
        ...(request.warnAfterSeconds === undefined ? {} : { warnafter: now + request.warnAfterSeconds }),
      };
      return await new SignJWT({ [privateClaim]: claims })
        .setProtectedHeader({ alg: algorithm, kid: keyId })
        .setIssuer(issuer)
        .setSubject(`system:serviceaccount:${namespace}:${account.name}`)
        .setAudience([...audiences])
        .setIssuedAt(now)
        .setNotBefore(now)
        .setExpirationTime(now + request.lifetimeSeconds)
        .setJti(randomUUID())
        .sign(signing);
    },
    verify: async (token, nowMs) => {
      const payload = await verifiedPayload(token);
      if (payload === undefined) return undefined;
      const now = nowMs / 1000;
      if ((payload.exp ?? 0) <= now || (payload.nbf ?? 0) > now + 60) return undefined;
      const claims = readClaims(payload);
      if (claims === undefined || !isAlive(claims, objects)) return undefined;
      const audiences = payload.aud === undefined ? [] : Array.isArray(payload.aud) ? payload.aud : [payload.aud];
      return { user: userOf(claims, payload.jti), audiences };
    },
    keys: async () => ({ keys: [{ ...jwk, use: 'sig', kid: keyId, alg: algorithm }] }),
  };
}
