// Who the client is, from a kubeconfig user: tokens, client certificates, basic authentication, exec plugins.
// Files are read again when they change, so that rotated credentials are used without a restart.
import { readFileSync, statSync } from 'node:fs';
import { ClientConfigError, type Credentials, fixedCredentials, type Identity } from './config.ts';
import { embeddedOrFile } from './embedded-data.ts';
import { createExecCredentials } from './exec-credentials.ts';
import type { CredentialTools, KubeconfigCluster, KubeconfigUser } from './kubeconfig-types.ts';

const fileCheckIntervalMs = 1000;

/** A file's content, read again when its modification time or size changed; looked at once a second at most. */
export function watchedFile(path: string, tools: Pick<CredentialTools, 'clock'>): () => string {
  let content: string | undefined;
  let version = '';
  let checkedAtMs = Number.NEGATIVE_INFINITY;
  return () => {
    const nowMs = tools.clock.monotonicMs();
    if (content !== undefined && nowMs - checkedAtMs < fileCheckIntervalMs) return content;
    try {
      const { mtimeMs, size, ino } = statSync(path);
      const seen = `${mtimeMs} ${size} ${ino}`;
      if (content === undefined || seen !== version) content = readFileSync(path, 'utf8');
      version = seen;
      checkedAtMs = nowMs;
    } catch (error) {
      if (content === undefined) {
        throw new ClientConfigError(`cannot read credentials ${path}: ${(error as Error).message}`, { cause: error });
      }
    }
    return content;
  };
}

/** A bearer token kept in a file. */
export function tokenFileCredentials(path: string, tools: Pick<CredentialTools, 'clock'>): Credentials {
  const read = watchedFile(path, tools);
  return { current: async () => ({ authorization: `Bearer ${read().trim()}` }) };
}

/** A client certificate and key kept in files (one file may hold both). */
export function certificateFileCredentials(
  certPath: string,
  keyPath: string,
  tools: Pick<CredentialTools, 'clock'>,
): Credentials {
  const readCert = watchedFile(certPath, tools);
  const readKey = watchedFile(keyPath, tools);
  return { current: async () => ({ certificate: { certPem: readCert(), keyPem: readKey() } }) };
}

function certificateCredentials(user: KubeconfigUser, tools: CredentialTools): Credentials | undefined {
  const certPath = user['client-certificate'];
  const keyPath = user['client-key'];
  const embedded = user['client-certificate-data'] !== undefined || user['client-key-data'] !== undefined;
  if (!embedded && certPath !== undefined) {
    return certificateFileCredentials(certPath, keyPath ?? certPath, tools);
  }
  const certPem = embeddedOrFile(user['client-certificate-data'], certPath, 'client-certificate');
  const keyPem = embeddedOrFile(user['client-key-data'], keyPath, 'client-key');
  if (certPem === undefined && keyPem === undefined) return undefined;
  if (certPem === undefined || keyPem === undefined) {
    throw new ClientConfigError('client-certificate and client-key must be given together');
  }
  return fixedCredentials({ certificate: { certPem, keyPem } });
}

function headerCredentials(user: KubeconfigUser, tools: CredentialTools): Credentials | undefined {
  if (user.tokenFile !== undefined && user.tokenFile !== '') return tokenFileCredentials(user.tokenFile, tools);
  if (user.token !== undefined && user.token !== '') return fixedCredentials({ authorization: `Bearer ${user.token}` });
  if (user.username !== undefined) {
    const pair = Buffer.from(`${user.username}:${user.password ?? ''}`).toString('base64');
    return fixedCredentials({ authorization: `Basic ${pair}` });
  }
  return undefined;
}

/** Everything a kubeconfig user can present; certificate and header may come from different sources. */
export function createUserCredentials(
  user: KubeconfigUser,
  cluster: KubeconfigCluster,
  tools: CredentialTools,
): Credentials {
  const plugin = user.exec === undefined ? undefined : createExecCredentials(user.exec, cluster, tools);
  const sources = [certificateCredentials(user, tools), headerCredentials(user, tools) ?? plugin];
  return {
    async current(signal) {
      const identity: Identity = {};
      for (const source of sources) Object.assign(identity, await source?.current(signal));
      return identity;
    },
    rejected: () => plugin?.rejected?.(),
  };
}
