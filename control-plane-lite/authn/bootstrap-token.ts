// Bootstrap tokens: ID.SECRET, kept as secrets in kube-system, with which a new node asks for its certificate.
import { timingSafeEqual } from 'node:crypto';
import { secrets } from '#kube/api/generated/resources.ts';
import type { ObjectReader } from '../registry/object-reader.ts';
import type { UserInfo } from '../registry/request-context.ts';

const pattern = /^([a-z0-9]{6})\.([a-z0-9]{16})$/;
const groupPattern = /^system:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]$/;

const decode = (data: Record<string, string>, key: string): string => Buffer.from(data[key] ?? '', 'base64').toString();

function isSame(a: string, b: string): boolean {
  const [left, right] = [Buffer.from(a), Buffer.from(b)];
  return left.length === right.length && timingSafeEqual(left, right);
}

/** Looks a token up; undefined when it is none, is wrong, has expired or is not for authentication. */
export function createBootstrapTokens(objects: ObjectReader): (token: string, nowMs: number) => UserInfo | undefined {
  return (token, nowMs) => {
    const [, id, secret] = pattern.exec(token) ?? [];
    if (id === undefined || secret === undefined) return undefined;
    const stored = objects.get(secrets, 'kube-system', `bootstrap-token-${id}`);
    if (stored?.type !== 'bootstrap.kubernetes.io/token' || stored.metadata.deletionTimestamp !== undefined)
      return undefined;
    const data = stored.data ?? {};
    if (!isSame(decode(data, 'token-secret'), secret) || decode(data, 'token-id') !== id) return undefined;
    const expiration = decode(data, 'expiration');
    if (expiration !== '' && !(Date.parse(expiration) > nowMs)) return undefined;
    if (decode(data, 'usage-bootstrap-authentication') !== 'true') return undefined;
    const extra = decode(data, 'auth-extra-groups')
      .split(',')
      .filter((group) => groupPattern.test(group));
    return { username: `system:bootstrap:${id}`, groups: ['system:bootstrappers', ...extra] };
  };
}
