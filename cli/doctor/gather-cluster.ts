// What `berth doctor` knows of the cluster: the node's certificates, its API servers with their clocks, their names.
import { X509Certificate } from 'node:crypto';
import { lookup } from 'node:dns/promises';
import { existsSync, readFileSync } from 'node:fs';
import { request } from 'node:https';
import { isIP } from 'node:net';
import { join } from 'node:path';
import { readKubeconfig } from '#kube/client/kubeconfig.ts';
import { serversOf } from '#kube/client/kubeconfig-servers.ts';
import type { Clock } from '#kube/process/clock.ts';
import type { CertificateFacts, DoctorFacts } from './facts.ts';

const answerMs = 5000;

interface ServerAccess {
  server: string;
  caPem: string | undefined;
  insecure: boolean;
}

function notAfterMs(path: string): number | undefined {
  try {
    return Date.parse(new X509Certificate(readFileSync(path)).validTo);
  } catch {
    // Not there, not readable or no certificate: the judge says so.
    return undefined;
  }
}

function kubeconfigOf(path: string): ReturnType<typeof readKubeconfig> | undefined {
  try {
    return existsSync(path) ? readKubeconfig(path) : undefined;
  } catch {
    // The servers are then missing among the facts.
    return undefined;
  }
}

/** Certificates of the node that are there, or that its kubeconfig names. */
export function gatherCertificates(kubeconfig: string, certDir: string, rotates: boolean): CertificateFacts[] {
  const config = kubeconfigOf(kubeconfig);
  const named = (config?.users ?? []).flatMap(({ user }) => user['client-certificate'] ?? []);
  const authorities = (config?.clusters ?? []).flatMap(({ cluster }) => cluster['certificate-authority'] ?? []);
  const server = ['kubelet-server-current.pem', 'kubelet.crt'].map((name) => join(certDir, name));
  const own = join(certDir, 'kubelet-client-current.pem');
  const paths = new Set([...named, ...[own, ...server].filter((path) => existsSync(path)), ...authorities]);
  return [...paths].map((path) => ({
    path,
    notAfterMs: notAfterMs(path),
    isRenewed: path.endsWith('kubelet.crt') || (rotates && !authorities.includes(path)),
  }));
}

function accessOf(kubeconfig: string): ServerAccess[] {
  const config = kubeconfigOf(kubeconfig);
  return (config?.clusters ?? []).flatMap(({ cluster }) => {
    const data = cluster['certificate-authority-data'];
    const file = cluster['certificate-authority'];
    const caPem =
      data !== undefined
        ? Buffer.from(data, 'base64').toString()
        : file !== undefined && existsSync(file)
          ? readFileSync(file, 'utf8')
          : undefined;
    const insecure = cluster['insecure-skip-tls-verify'] === true;
    return serversOf(cluster).map((server) => ({ server, caPem, insecure }));
  });
}

/** The time in the answer's Date header; any answer will do. Rejects when there is none. */
function askDate({ server, caPem, insecure }: ServerAccess): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const url = new URL('/version', server);
    const options = { ca: caPem, rejectUnauthorized: !insecure, signal: AbortSignal.timeout(answerMs), agent: false };
    const asked = request(url, options, (answer) => {
      answer.resume();
      const date = Date.parse(answer.headers.date ?? '');
      resolve(Number.isNaN(date) ? undefined : date);
    });
    asked.on('error', reject);
    asked.end();
  });
}

/** Asks every server of the kubeconfig for its time. */
export async function gatherServers(kubeconfig: string, clock: Clock): Promise<DoctorFacts['api']> {
  return Promise.all(
    accessOf(kubeconfig).map(async (access) => {
      const { server } = access;
      try {
        const before = clock.now();
        const date = await askDate(access);
        // The header has whole seconds: half a second either way is nothing.
        const skewMs = date === undefined ? undefined : (before + clock.now()) / 2 - (date + 500);
        return { server, error: undefined, skewMs };
      } catch (error) {
        const { code, message } = error as NodeJS.ErrnoException;
        return { server, error: code ?? message, skewMs: undefined };
      }
    }),
  );
}

/** Names of servers that nobody knows. */
export async function gatherUnresolved(servers: readonly string[]): Promise<DoctorFacts['dns']['unresolved']> {
  const hosts = servers.filter((server) => URL.canParse(server)).map((server) => new URL(server).hostname);
  const names = [...new Set(hosts)].filter((host) => isIP(host.replace(/^\[|\]$/g, '')) === 0);
  const answers = await Promise.all(
    names.map(async (host) => {
      try {
        await lookup(host);
        return [];
      } catch (error) {
        return [{ host, error: (error as NodeJS.ErrnoException).code ?? 'unknown' }];
      }
    }),
  );
  return answers.flat();
}
