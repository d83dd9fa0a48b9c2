// When a certificate is replaced: some time in the last third of its life, so that the nodes of a cluster do not all
// ask at once (k8s.io/client-go/util/certificate). Pure.

/** The life of a certificate; milliseconds since the epoch. */
export interface Validity {
  notBeforeMs: number;
  notAfterMs: number;
}

/** Part of its life after which the first certificates are replaced, and how much later the last ones are. */
const earliest = 0.7;
const spread = 0.2;

/** The time to ask for the next certificate; `random` is between 0 and 1. */
export function rotationDeadlineMs({ notBeforeMs, notAfterMs }: Validity, random: number): number {
  const lifeMs = notAfterMs - notBeforeMs;
  return notBeforeMs + Math.floor(lifeMs * (earliest + spread * random));
}

/** Whether the certificate can be used now. */
export function isValidAt({ notBeforeMs, notAfterMs }: Validity, nowMs: number): boolean {
  return notBeforeMs <= nowMs && nowMs < notAfterMs;
}
