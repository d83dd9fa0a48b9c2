// EncryptionConfiguration (apiserver.config.k8s.io/v1): which resources are sealed on disk, with which keys.
import { type ConfigShape, loadConfigFile } from '#kube/process/config-file.ts';
import { UsageError } from '#kube/process/flags.ts';
import { type Cipher, type CipherName, cipherNames, createCipher, keyBytes } from './ciphers.ts';
import { plainValues, SealedValueError, sealOf, type ValueSealer } from './value-sealer.ts';

/** Prefixes of the keys in the store at which the objects of a resource are, such as `secrets` or `*.apps`. */
export type PrefixesOf = (resource: string) => readonly string[];

interface Keys {
  keys?: { name?: string; secret?: string }[];
}
type Provider = Partial<Record<CipherName, Keys>> & { identity?: object; kms?: object };

const keys: ConfigShape = { keys: [{ name: 'string', secret: 'string' }] };
const shape = {
  resources: [
    {
      resources: 'stringList',
      providers: [{ identity: 'any', kms: 'any', aesgcm: keys, aescbc: keys, secretbox: keys }],
    },
  ],
} satisfies { [field: string]: ConfigShape };

/** The ciphers of one entry in order; `identity` leaves values as they are. Never shows a key. */
function ciphersOf(provider: Provider, at: string): (Cipher | 'identity')[] {
  const kinds = Object.keys(provider);
  const [kind] = kinds;
  if (kinds.length !== 1 || kind === undefined) throw new UsageError(`${at} takes exactly one kind of provider`);
  if (kind === 'identity') return ['identity'];
  const name = cipherNames.find((each) => each === kind);
  if (name === undefined) throw new UsageError(`${at}: providers of kind kms are not supported`);
  const list = provider[name]?.keys ?? [];
  if (list.length === 0) throw new UsageError(`${at}.${name}.keys takes at least one key`);
  return list.map(({ name: keyName = '', secret = '' }, index) => {
    const place = `${at}.${name}.keys[${index}]`;
    if (!/^[^:\s]+$/.test(keyName)) throw new UsageError(`${place}.name takes a name without colons`);
    const key = Buffer.from(secret, 'base64');
    if (!keyBytes[name].includes(key.length))
      throw new UsageError(`${place}.secret takes ${keyBytes[name].join(', ')} bytes in base64, not ${key.length}`);
    return createCipher(name, keyName, key);
  });
}

/** Seals with the first, opens with any. */
function sealerOf(ciphers: readonly (Cipher | 'identity')[]): ValueSealer {
  const [first = 'identity'] = ciphers;
  return {
    seal: (key, value) =>
      first === 'identity' ? value : Buffer.concat([Buffer.from(first.prefix), first.seal(value, Buffer.from(key))]),
    open: (key, stored) => {
      const seal = sealOf(stored);
      if (seal === undefined) {
        if (!ciphers.includes('identity'))
          throw new SealedValueError(key, 'it is not sealed, and identity is no provider');
        return { value: stored, isStale: first !== 'identity' };
      }
      const cipher = ciphers.find((each) => each !== 'identity' && each.prefix === seal);
      if (cipher === undefined || cipher === 'identity')
        throw new SealedValueError(key, `it is sealed with ${seal}, a key that is not configured`);
      try {
        const value = cipher.open(stored.subarray(Buffer.byteLength(seal)), Buffer.from(key));
        return { value, isStale: cipher !== first };
      } catch (error) {
        throw new SealedValueError(key, `what ${seal} sealed was changed, or the key is another one`, error);
      }
    },
  };
}

/** Reads the file. Throws UsageError with what is wrong in it. */
export function loadEncryption(path: string, prefixesOf: PrefixesOf): ValueSealer {
  const expected = { apiVersion: 'apiserver.config.k8s.io/v1', kind: 'EncryptionConfiguration', shape };
  const { resources = [] } = loadConfigFile(path, expected) as {
    resources?: { resources?: string[]; providers?: Provider[] }[];
  };
  const rules = resources.map(({ resources: names = [], providers = [] }, index) => {
    const at = `${path}: resources[${index}]`;
    if (names.length === 0 || providers.length === 0)
      throw new UsageError(`${at} takes resources and providers, at least one of each`);
    const ciphers = providers.flatMap((provider, place) => ciphersOf(provider, `${at}.providers[${place}]`));
    const prefixes = names.flatMap((name) => {
      const found = prefixesOf(name);
      if (found.length === 0) throw new UsageError(`${at}.resources: ${name} is no resource of the API`);
      return found;
    });
    return { prefixes, sealer: sealerOf(ciphers) };
  });
  const sealerFor = (key: string): ValueSealer =>
    rules.find(({ prefixes }) => prefixes.some((prefix) => key.startsWith(prefix)))?.sealer ?? plainValues;
  return {
    seal: (key, value) => sealerFor(key).seal(key, value),
    open: (key, stored) => sealerFor(key).open(key, stored),
  };
}
