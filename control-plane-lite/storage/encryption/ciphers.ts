// The ways in which values are sealed, byte for byte those of kube-apiserver's providers.
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { xsalsa20poly1305 } from '@noble/ciphers/salsa.js';

/** One key of one provider. Both throw on what does not fit. */
export interface Cipher {
  /** What comes before sealed values. */
  prefix: string;
  /** `context` is authenticated where the method can. */
  seal(value: Buffer, context: Buffer): Buffer;
  open(sealed: Buffer, context: Buffer): Buffer;
}

export const cipherNames = ['aesgcm', 'aescbc', 'secretbox'] as const;
export type CipherName = (typeof cipherNames)[number];

const gcmNonceBytes = 12;
const gcmTagBytes = 16;
const blockBytes = 16;
const boxNonceBytes = 24;

/** Bytes that a key may have. */
export const keyBytes: Record<CipherName, readonly number[]> = {
  aesgcm: [16, 24, 32],
  aescbc: [16, 24, 32],
  secretbox: [32],
};

const methods: Record<CipherName, (key: Buffer) => Omit<Cipher, 'prefix'>> = {
  aesgcm: (key) => {
    const algorithm = `aes-${key.length * 8}-gcm` as 'aes-256-gcm';
    return {
      seal: (value, context) => {
        const nonce = randomBytes(gcmNonceBytes);
        const cipher = createCipheriv(algorithm, key, nonce).setAAD(context);
        return Buffer.concat([nonce, cipher.update(value), cipher.final(), cipher.getAuthTag()]);
      },
      open: (sealed, context) => {
        const nonce = sealed.subarray(0, gcmNonceBytes);
        const end = sealed.length - gcmTagBytes;
        const decipher = createDecipheriv(algorithm, key, nonce, { authTagLength: gcmTagBytes }).setAAD(context);
        decipher.setAuthTag(sealed.subarray(end));
        return Buffer.concat([decipher.update(sealed.subarray(gcmNonceBytes, end)), decipher.final()]);
      },
    };
  },
  aescbc: (key) => {
    const algorithm = `aes-${key.length * 8}-cbc`;
    return {
      seal: (value) => {
        const start = randomBytes(blockBytes);
        const cipher = createCipheriv(algorithm, key, start);
        return Buffer.concat([start, cipher.update(value), cipher.final()]);
      },
      open: (sealed) => {
        const decipher = createDecipheriv(algorithm, key, sealed.subarray(0, blockBytes));
        return Buffer.concat([decipher.update(sealed.subarray(blockBytes)), decipher.final()]);
      },
    };
  },
  secretbox: (key) => ({
    seal: (value) => {
      const nonce = randomBytes(boxNonceBytes);
      return Buffer.concat([nonce, xsalsa20poly1305(key, nonce).encrypt(value)]);
    },
    open: (sealed) =>
      Buffer.from(xsalsa20poly1305(key, sealed.subarray(0, boxNonceBytes)).decrypt(sealed.subarray(boxNonceBytes))),
  }),
};

/** The cipher with a key of that name. */
export function createCipher(name: CipherName, keyName: string, key: Buffer): Cipher {
  return { prefix: `k8s:enc:${name}:v1:${keyName}:`, ...methods[name](key) };
}
