// Versions, cipher suites and curves of TLS, from the names that Go and Kubernetes give them to OpenSSL's.
import { constants } from 'node:crypto';
import { UsageError } from '#kube/process/flags.ts';
import type { Fields } from './merge-layers.ts';

/** What the server may negotiate. */
export interface TlsSettings {
  tlsMinVersion: 'TLSv1' | 'TLSv1.1' | 'TLSv1.2' | 'TLSv1.3';
  /** As OpenSSL names them; undefined: the runtime's choice. */
  ciphers: string | undefined;
  curves: string | undefined;
}

const versions: Record<string, TlsSettings['tlsMinVersion']> = {
  '': 'TLSv1.2',
  VersionTLS10: 'TLSv1',
  VersionTLS11: 'TLSv1.1',
  VersionTLS12: 'TLSv1.2',
  VersionTLS13: 'TLSv1.3',
};

/** Suites of TLS 1.2 and before; those of TLS 1.3 have the same name in both. */
const suites: Record<string, string> = {
  TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA: 'ECDHE-ECDSA-AES128-SHA',
  TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256: 'ECDHE-ECDSA-AES128-GCM-SHA256',
  TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA: 'ECDHE-ECDSA-AES256-SHA',
  TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384: 'ECDHE-ECDSA-AES256-GCM-SHA384',
  TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305: 'ECDHE-ECDSA-CHACHA20-POLY1305',
  TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256: 'ECDHE-ECDSA-CHACHA20-POLY1305',
  TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA: 'ECDHE-RSA-AES128-SHA',
  TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256: 'ECDHE-RSA-AES128-GCM-SHA256',
  TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA: 'ECDHE-RSA-AES256-SHA',
  TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384: 'ECDHE-RSA-AES256-GCM-SHA384',
  TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305: 'ECDHE-RSA-CHACHA20-POLY1305',
  TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256: 'ECDHE-RSA-CHACHA20-POLY1305',
  TLS_RSA_WITH_AES_128_CBC_SHA: 'AES128-SHA',
  TLS_RSA_WITH_AES_128_GCM_SHA256: 'AES128-GCM-SHA256',
  TLS_RSA_WITH_AES_256_CBC_SHA: 'AES256-SHA',
  TLS_RSA_WITH_AES_256_GCM_SHA384: 'AES256-GCM-SHA384',
};
const suites13 = ['TLS_AES_128_GCM_SHA256', 'TLS_AES_256_GCM_SHA384', 'TLS_CHACHA20_POLY1305_SHA256'];

const curves: Record<string, string> = {
  CurveP256: 'P-256',
  secp256r1: 'P-256',
  CurveP384: 'P-384',
  secp384r1: 'P-384',
  CurveP521: 'P-521',
  secp521r1: 'P-521',
  X25519: 'X25519',
  X25519MLKEM768: 'X25519MLKEM768',
};

function names(value: unknown): string[] {
  return Array.isArray(value) ? value.map(String) : [];
}

function translate(field: string, list: readonly string[], known: Record<string, string>): string[] {
  return list.map((name) => {
    const found = known[name];
    if (found === undefined) {
      throw new UsageError(
        `invalid configuration: ${field}: ${name} not supported; known: ${Object.keys(known).join(', ')}`,
      );
    }
    return found;
  });
}

/** Translates. Throws UsageError for a name that is not known. */
export function resolveTls(c: Fields): TlsSettings {
  const version = String(c['tlsMinVersion'] ?? '');
  const tlsMinVersion = versions[version];
  if (tlsMinVersion === undefined) {
    const known = Object.keys(versions).filter((name) => name !== '');
    throw new UsageError(
      `invalid configuration: tlsMinVersion (--tls-min-version) ${version}: ${known.join(', ')} are known`,
    );
  }
  const all = { ...suites, ...Object.fromEntries(suites13.map((name) => [name, name])) };
  const own = translate('tlsCipherSuites (--tls-cipher-suites)', names(c['tlsCipherSuites']), all);
  // Go does not let the suites of TLS 1.3 be chosen: they are there whatever the list says.
  const ciphers = own.length === 0 ? undefined : [...new Set([...suites13, ...own])].join(':');
  const chosen = [...new Set(translate('tlsCurvePreferences', names(c['tlsCurvePreferences']), curves))];
  return { tlsMinVersion, ciphers, curves: chosen.length === 0 ? undefined : chosen.join(':') };
}

/** The server's choice counts, as in Go. */
export const secureOptions = constants.SSL_OP_CIPHER_SERVER_PREFERENCE;
