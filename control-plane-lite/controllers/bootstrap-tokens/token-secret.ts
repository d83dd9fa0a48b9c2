// Bootstrap tokens as they are kept: Secrets of a type of their own in kube-system. Pure.
import type { Secret } from '#kube/api/generated/core-v1.ts';

/** A field of the secret, decoded; empty where it is missing. */
export function fieldOf({ data }: Secret, name: string): string {
  return Buffer.from(data?.[name] ?? '', 'base64').toString();
}

/** Milliseconds until the token ends; infinite where it does not, and negative for a time that cannot be read. */
export function expiresInMs(token: Secret, nowMs: number): number {
  const text = fieldOf(token, 'expiration');
  if (text === '') return Number.POSITIVE_INFINITY;
  const atMs = Date.parse(text);
  return Number.isNaN(atMs) ? Number.NEGATIVE_INFINITY : atMs - nowMs;
}
