// Looks at the machine for `berth doctor`; changes nothing.
import { accessSync, constants, existsSync, readdirSync, readFileSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { release } from 'node:os';
import { delimiter, join } from 'node:path';
import type { Clock } from '#kube/process/clock.ts';
import { parseYaml } from '#kube/process/parse-yaml.ts';
import { createGrpcRuntimeService, openCriChannel } from '../../agent/index.ts';
import type { ConfiguredFacts, DiskFacts, DoctorFacts, PortFacts } from './facts.ts';
import { findListener } from './find-listener.ts';
import { gatherCertificates, gatherServers, gatherUnresolved } from './gather-cluster.ts';

const runtimeMs = 5000;
const kernelDirectory = '/proc/sys';
const settingNames = ['net/ipv4/ip_forward', 'net/bridge/bridge-nf-call-iptables'];
const programNames: [string, string][] = [
  ['runc', 'runc'],
  ['iptables-restore', 'iptables'],
  ['conntrack', 'conntrack'],
  ['ip', 'iproute2'],
  ['mount', 'mount'],
  ['nsenter', 'util-linux'],
];
const cniDirectories = ['/opt/cni/bin', '/usr/lib/cni'];
const systemPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

export interface DoctorOptions {
  kubeconfig: string;
  config: string;
  certDir: string;
  rootDir: string;
  criSocket?: string;
  /** Where the runtime looks for network configurations. */
  cniConfDir: string;
  clock: Clock;
}

function readIf(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    // Not there, or not for this user: the judge says what that means.
    return undefined;
  }
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function readConfiguration(path: string): ConfiguredFacts & { endpoint: string | undefined } {
  const text = readIf(path);
  let fields: Record<string, unknown> = {};
  let problem: string | undefined;
  try {
    fields = (parseYaml(text ?? '{}') ?? {}) as Record<string, unknown>;
  } catch (error) {
    problem = (error as Error).message;
  }
  const text_ = (name: string) => (typeof fields[name] === 'string' ? fields[name] : undefined);
  return {
    file: text === undefined ? undefined : path,
    problem,
    cgroupDriver: text_('cgroupDriver') ?? 'cgroupfs',
    failSwapOn: fields['failSwapOn'] !== false,
    rotateCertificates: fields['rotateCertificates'] === true,
    resolvConf: text_('resolvConf') ?? '/etc/resolv.conf',
    port: Number(fields['port'] ?? 10250),
    healthzPort: Number(fields['healthzPort'] ?? 10248),
    endpoint: text_('containerRuntimeEndpoint'),
  };
}

function gatherKernel(): DoctorFacts['kernel'] {
  const namespaces = ['mnt', 'net', 'pid', 'ipc', 'uts', 'cgroup'];
  const filesystems = readIf('/proc/filesystems') ?? '';
  const tables = existsSync('/proc/net/ip_tables_names') || /nf_tables/.test(readIf('/proc/modules') ?? '');
  const features = [
    { name: 'the overlay file system', module: 'overlay', has: /\boverlay$/m.test(filesystems) },
    {
      name: 'connection tracking',
      module: 'nf_conntrack',
      has: existsSync('/proc/sys/net/netfilter/nf_conntrack_max'),
    },
    { name: 'packet filters', module: 'nf_tables', has: tables },
  ];
  return {
    release: release(),
    missingNamespaces: namespaces.filter((name) => !existsSync(join('/proc/self/ns', name))),
    missingFeatures: features.filter(({ has }) => !has).map(({ name, module }) => ({ name, module })),
  };
}

function gatherCgroups(): DoctorFacts['cgroups'] {
  const unified = readIf('/sys/fs/cgroup/cgroup.controllers');
  if (unified !== undefined) return { version: 2, controllers: unified.trim().split(' ') };
  const rows = (readIf('/proc/cgroups') ?? '').split('\n').map((line) => line.split('\t'));
  return { version: 1, controllers: rows.filter(([, , , enabled]) => enabled === '1').map(([name = '']) => name) };
}

async function gatherRuntime(endpoint: string): Promise<DoctorFacts['runtime']> {
  const own = readIf('/etc/containerd/config.toml');
  const match = /^\s*SystemdCgroup\s*=\s*(true|false)/m.exec(own ?? '');
  const systemdCgroups = match === null ? undefined : match[1] === 'true';
  const channel = openCriChannel(endpoint);
  try {
    const runtime = createGrpcRuntimeService(channel, runtimeMs);
    const version = await runtime.version(AbortSignal.timeout(runtimeMs));
    const { status } = await runtime.status(AbortSignal.timeout(runtimeMs));
    const problems = (status?.conditions ?? [])
      .filter((condition) => condition.status !== true)
      .map(({ type, reason, message }) => `${type} is false: ${reason} ${message}`);
    const name = `${version.runtimeName} ${version.runtimeVersion}`;
    return { endpoint, version: name, problems, error: undefined, systemdCgroups };
  } catch (error) {
    return { endpoint, version: undefined, problems: [], error: (error as Error).message, systemdCgroups };
  } finally {
    channel.close();
  }
}

function gatherNetwork(cniConfDir: string): DoctorFacts['network'] {
  const names = existsSync(cniConfDir) ? readdirSync(cniConfDir).sort() : [];
  const configurations = names.filter((name) => /\.(conf|conflist|json)$/.test(name));
  const wanted = new Set(['loopback']);
  const [first] = configurations;
  const text = first === undefined ? undefined : readIf(join(cniConfDir, first));
  for (const [, type = ''] of (text ?? '').matchAll(/"type"\s*:\s*"([\w-]+)"/g)) wanted.add(type);
  const isThere = (name: string) => cniDirectories.some((directory) => isExecutable(join(directory, name)));
  const missingPlugins = [...wanted].filter((name) => !isThere(name));
  return { directory: cniConfDir, configurations, missingPlugins, pluginDirectories: cniDirectories };
}

async function gatherDisk(what: string, path: string): Promise<DiskFacts[]> {
  try {
    const { blocks, bavail, files, ffree } = await statfs(path);
    return [
      { what, path, freeRatio: blocks === 0 ? 1 : bavail / blocks, freeInodesRatio: files === 0 ? 1 : ffree / files },
    ];
  } catch {
    // Not made yet.
    return [];
  }
}

function gatherPorts(configuration: ConfiguredFacts): PortFacts[] {
  const ports: [number, string][] = [
    [configuration.port, 'the agent'],
    [configuration.healthzPort, "the agent's health"],
    [10256, "the proxy's health"],
    [10249, "the proxy's metrics"],
  ];
  return ports.map(([port, what]) => ({ port, what, holder: findListener(port) }));
}

/** Gathers everything, as far as it can be looked at. */
export async function gatherFacts(options: DoctorOptions): Promise<DoctorFacts> {
  const { clock } = options;
  const { endpoint: configured, ...configuration } = readConfiguration(options.config);
  const endpoint = options.criSocket ?? configured ?? 'unix:///run/containerd/containerd.sock';
  const path = `${process.env['PATH'] ?? ''}${delimiter}${systemPath}`.split(delimiter);
  const memory = /^SwapTotal:\s+(\d+) kB/m.exec(readIf('/proc/meminfo') ?? '');
  const resolver = readIf(configuration.resolvConf) ?? '';
  const api = await gatherServers(options.kubeconfig, clock);
  const disks = await Promise.all([
    gatherDisk("the node's disk", existsSync(options.rootDir) ? options.rootDir : '/var/lib'),
    gatherDisk("the images' disk", existsSync('/var/lib/containerd') ? '/var/lib/containerd' : '/var/lib'),
  ]);
  return {
    nowMs: clock.now(),
    isRoot: process.getuid?.() === 0,
    kernel: gatherKernel(),
    settings: Object.fromEntries(settingNames.map((name) => [name, readIf(join(kernelDirectory, name))?.trim()])),
    swapBytes: Number(memory?.[1] ?? 0) * 1024,
    cgroups: gatherCgroups(),
    configuration,
    programs: programNames.map(([name, debianPackage]) => ({
      name,
      debianPackage,
      found: path.some((directory) => isExecutable(join(directory, name))),
    })),
    runtime: await gatherRuntime(endpoint),
    network: gatherNetwork(options.cniConfDir),
    ports: gatherPorts(configuration),
    certificates: gatherCertificates(options.kubeconfig, options.certDir, configuration.rotateCertificates),
    api,
    disks: disks.flat(),
    dns: {
      file: configuration.resolvConf,
      nameservers: [...resolver.matchAll(/^nameserver\s+(\S+)/gm)].map(([, address = '']) => address),
      unresolved: await gatherUnresolved(api.map(({ server }) => server)),
    },
  };
}
