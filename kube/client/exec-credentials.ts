// Credentials printed by a program (client.authentication.k8s.io ExecCredential), kept until they expire.
import type { Credentials, Identity } from './config.ts';
import { ClientConfigError } from './config.ts';
import type { CredentialTools, KubeconfigCluster, KubeconfigExec } from './kubeconfig-types.ts';

const programTimeoutMs = 60_000;

interface ExecCredentialStatus {
  token?: string;
  clientCertificateData?: string;
  clientKeyData?: string;
  expirationTimestamp?: string;
}

function decodeStatus(command: string, text: string): ExecCredentialStatus {
  let decoded: unknown;
  try {
    decoded = JSON.parse(text);
  } catch (error) {
    throw new ClientConfigError(`credential program ${command} did not print JSON`, { cause: error });
  }
  const credential = decoded as { kind?: unknown; status?: ExecCredentialStatus } | null;
  if (credential?.kind !== 'ExecCredential' || typeof credential.status !== 'object') {
    throw new ClientConfigError(`credential program ${command} did not print an ExecCredential with a status`);
  }
  return credential.status;
}

function identityOf(command: string, status: ExecCredentialStatus): Identity {
  const { token, clientCertificateData: certPem, clientKeyData: keyPem } = status;
  const identity: Identity = {};
  if (typeof token === 'string' && token !== '') identity.authorization = `Bearer ${token}`;
  if (typeof certPem === 'string' && typeof keyPem === 'string') identity.certificate = { certPem, keyPem };
  if (identity.authorization === undefined && identity.certificate === undefined) {
    throw new ClientConfigError(`credential program ${command} printed neither a token nor a certificate`);
  }
  return identity;
}

function execInfo(exec: KubeconfigExec, cluster: KubeconfigCluster): string {
  const described = {
    server: cluster.server,
    'tls-server-name': cluster['tls-server-name'],
    'insecure-skip-tls-verify': cluster['insecure-skip-tls-verify'],
    'certificate-authority-data': cluster['certificate-authority-data'],
  };
  return JSON.stringify({
    apiVersion: exec.apiVersion,
    kind: 'ExecCredential',
    spec: { interactive: false, ...(exec.provideClusterInfo === true ? { cluster: described } : {}) },
  });
}

/** Runs the program when there is no credential, it expired, or the server rejected it; once for all callers. */
export function createExecCredentials(
  exec: KubeconfigExec,
  cluster: KubeconfigCluster,
  tools: CredentialTools,
): Credentials {
  let held: { identity: Identity; expiresAtMs: number } | undefined;
  let running: Promise<Identity> | undefined;

  async function run(): Promise<Identity> {
    const env = Object.fromEntries((exec.env ?? []).map(({ name, value }) => [name, value]));
    const result = await tools.exec(exec.command, exec.args ?? [], {
      env: { ...env, KUBERNETES_EXEC_INFO: execInfo(exec, cluster) },
      timeoutMs: programTimeoutMs,
    });
    if (result.exitCode !== 0) {
      const hint = exec.installHint === undefined ? '' : ` (${exec.installHint.trim()})`;
      throw new ClientConfigError(
        `credential program ${exec.command} ended with ${result.exitCode}: ${result.stderr.trim().slice(0, 500)}${hint}`,
      );
    }
    const status = decodeStatus(exec.command, result.stdout);
    const expires = Date.parse(status.expirationTimestamp ?? '');
    held = {
      identity: identityOf(exec.command, status),
      expiresAtMs: Number.isNaN(expires) ? Number.POSITIVE_INFINITY : expires,
    };
    return held.identity;
  }

  return {
    async current() {
      if (held !== undefined && tools.clock.now() < held.expiresAtMs) return held.identity;
      running ??= run().finally(() => {
        running = undefined;
      });
      return running;
    },
    rejected() {
      held = undefined;
    },
  };
}
