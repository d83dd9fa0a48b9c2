// Values as they lie on disk. Sealed ones begin with the name of what sealed them, as kube-apiserver writes them, so that
// it can open them with the same configuration.

export interface OpenedValue {
  value: Buffer;
  /** It would be stored otherwise today: with another key, or sealed at all. */
  isStale: boolean;
}

/** Turns values into what is stored and back. The key of a value is sealed in where the method can: no value can be moved. */
export interface ValueSealer {
  seal(key: string, value: Buffer): Buffer;
  /** Throws SealedValueError when there is no key for it, or when it was changed. */
  open(key: string, stored: Buffer): OpenedValue;
}

/** A stored value cannot be read. */
export class SealedValueError extends Error {
  readonly code = 'SEALED_VALUE';

  constructor(key: string, reason: string, cause?: unknown) {
    super(`cannot read ${key}: ${reason}`, { cause });
    this.name = 'SealedValueError';
  }
}

const sealedMark = 'k8s:enc:';

/** What sealed a value, for example `k8s:enc:aesgcm:v1:key1:`; undefined for one that is not sealed. */
export function sealOf(stored: Buffer): string | undefined {
  if (!stored.subarray(0, sealedMark.length).equals(Buffer.from(sealedMark))) return undefined;
  return /^k8s:enc:[^:]*:v\d+:[^:]*:/.exec(stored.toString('latin1', 0, 512))?.[0] ?? sealedMark;
}

/** Values as they are. */
export const plainValues: ValueSealer = {
  seal: (_key, value) => value,
  open: (key, stored) => {
    const seal = sealOf(stored);
    if (seal === undefined) return { value: stored, isStale: false };
    throw new SealedValueError(key, `it is sealed with ${seal} and no key is given: --encryption-provider-config`);
  },
};

/** Values as they were stored, sealed or not: for copies of a store. */
export const storedValues: ValueSealer = {
  seal: (_key, value) => value,
  open: (_key, value) => ({ value, isStale: false }),
};
