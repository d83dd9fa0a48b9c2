// Finds out, before anything is changed, whether this machine can run a node: one line per finding, with the fix.
import { accessSync, constants, existsSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { delimiter, join } from 'node:path';
import { UsageError } from '#kube/process/flags.ts';

const programs: [string, string][] = [
  ['containerd', 'containerd'],
  ['ctr', 'containerd'],
  ['runc', 'runc'],
  ['iptables-restore', 'iptables'],
  ['nft', 'nftables'],
  ['conntrack', 'conntrack'],
  ['ip', 'iproute2'],
  ['nsenter', 'util-linux'],
];
const cniPlugins = ['bridge', 'host-local', 'loopback', 'portmap'];
const cniDirs = ['/usr/lib/cni', '/opt/cni/bin'];
const sysResource = 1n << 24n;

/** Facts of the machine that decide how components are configured. */
export interface MachineFacts {
  cniBinDir: string;
  /** False where lowering oom_score_adj is not allowed. */
  mayLowerOomScore: boolean;
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function hasProgram(name: string, path: string): boolean {
  return path.split(delimiter).some((dir) => isExecutable(join(dir, name)));
}

function isPortFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen({ port, host: '0.0.0.0' }, () => server.close(() => resolve(true)));
  });
}

/** True when the effective capabilities in /proc/self/status contain CAP_SYS_RESOURCE. */
export function hasSysResource(processStatus: string): boolean {
  const match = /^CapEff:\s*([0-9a-f]+)/m.exec(processStatus);
  return match !== null && (BigInt(`0x${match[1]}`) & sysResource) !== 0n;
}

/** Throws UsageError with every finding, a line each. */
export async function checkMachine(options: {
  uid: number;
  path: string;
  ports: readonly { port: number; what: string }[];
}): Promise<MachineFacts> {
  const findings: string[] = [];
  if (options.uid !== 0) throw new UsageError('berth up needs root: run it with sudo');
  for (const [program, debianPackage] of programs) {
    if (!hasProgram(program, options.path)) findings.push(`${program} is missing: apt-get install ${debianPackage}`);
  }
  const cniBinDir = cniDirs.find((dir) => cniPlugins.every((plugin) => isExecutable(join(dir, plugin))));
  if (cniBinDir === undefined) {
    findings.push(`the CNI plugins ${cniPlugins.join(', ')} are missing: apt-get install containernetworking-plugins`);
  }
  for (const { port, what } of options.ports) {
    if (!(await isPortFree(port)))
      findings.push(`port ${port} (${what}) is in use: stop what listens there (ss -ltnp 'sport = :${port}')`);
  }
  if (!existsSync('/proc/self/ns/net')) findings.push('the kernel has no network namespaces');
  if (findings.length > 0) throw new UsageError(findings.join('\n'));
  return { cniBinDir: cniBinDir ?? '', mayLowerOomScore: hasSysResource(readFileSync('/proc/self/status', 'utf8')) };
}
