// What lets others verify service account tokens: the OpenID discovery document and the public keys.
import type { ServiceAccountTokens } from '../authn/service-account-tokens.ts';
import { sendBytes, sendJson } from './http/exchange.ts';
import type { PathHandler } from './non-resource.ts';

export function createOpenIdHandler(tokens: ServiceAccountTokens, serverUrl: string): PathHandler {
  return async (exchange) => {
    switch (exchange.info.path) {
      case '/.well-known/openid-configuration':
        sendJson(exchange, 200, {
          issuer: tokens.issuer,
          jwks_uri: `${serverUrl}/openid/v1/jwks`,
          response_types_supported: ['id_token'],
          subject_types_supported: ['public'],
          id_token_signing_alg_values_supported: ['ES256'],
        });
        return true;
      case '/openid/v1/jwks':
        sendBytes(exchange, 200, 'application/jwk-set+json', JSON.stringify(await tokens.keys()));
        return true;
      default:
        return false;
    }
  };
}
