// Judges the facts of a machine: one finding for each thing, with what puts it right. Pure.
import type { DoctorFacts } from './facts.ts';

/** `error`: pods cannot run, or soon cannot; `warning`: they can, with something amiss. */
export type FindingLevel = 'ok' | 'warning' | 'error';

export interface Finding {
  check: string;
  level: FindingLevel;
  message: string;
  /** What to do; absent when all is well. */
  fix?: string;
}

const dayMs = 24 * 3600 * 1000;
const expiresSoonMs = 30 * dayMs;
const skewWarningMs = 5_000;
const skewErrorMs = 60_000;
/** Where the agent begins to evict (evictionHard's defaults), and some way before. */
const least = { bytes: 0.1, inodes: 0.05 };
const little = { bytes: 0.15, inodes: 0.1 };

const ok = (check: string, message: string): Finding => ({ check, level: 'ok', message });
const warning = (check: string, message: string, fix: string): Finding => ({ check, level: 'warning', message, fix });
const error = (check: string, message: string, fix: string): Finding => ({ check, level: 'error', message, fix });

/** The findings, or one that says all is well. */
function orFine(findings: Finding[], check: string, message: string): Finding[] {
  return findings.length > 0 ? findings : [ok(check, message)];
}

function judgeKernel({ kernel, settings, swapBytes, configuration }: DoctorFacts): Finding[] {
  const [major = 0, minor = 0] = kernel.release.split(/[.-]/).map(Number);
  const findings: Finding[] = [];
  if (major < 4 || (major === 4 && minor < 19)) {
    findings.push(error('kernel', `kernel ${kernel.release} is too old`, 'boot a kernel of version 4.19 or later'));
  }
  for (const name of kernel.missingNamespaces) {
    findings.push(error('kernel', `the kernel has no ${name} namespaces`, 'boot a kernel that has them'));
  }
  const modules = kernel.missingFeatures.map(({ name, module }) =>
    error('modules', `the kernel lacks ${name}`, `modprobe ${module}, and add it to /etc/modules-load.d/berth.conf`),
  );
  const forwarding = settings['net/ipv4/ip_forward'];
  const sysctls: Finding[] = [];
  if (forwarding === '0') {
    const fix = 'sysctl -w net.ipv4.ip_forward=1, and the same line in /etc/sysctl.d/99-berth.conf';
    sysctls.push(error('settings', 'net.ipv4.ip_forward is 0: pods reach nothing outside their node', fix));
  }
  if (settings['net/bridge/bridge-nf-call-iptables'] === '0') {
    const fix = 'sysctl -w net.bridge.bridge-nf-call-iptables=1';
    sysctls.push(warning('settings', 'bridged packets skip iptables: a pod may not reach itself by its service', fix));
  }
  const swap =
    swapBytes > 0 && configuration.failSwapOn
      ? [
          error(
            'swap',
            'swap is on and failSwapOn is true: the agent does not start',
            'swapoff -a, or failSwapOn: false',
          ),
        ]
      : [ok('swap', swapBytes > 0 ? 'swap is on, and allowed' : 'swap is off')];
  return [
    ...orFine(findings, 'kernel', `kernel ${kernel.release}`),
    ...orFine(modules, 'modules', 'the kernel has all that pods need'),
    ...orFine(sysctls, 'settings', 'kernel settings of the network are right'),
    ...swap,
  ];
}

function judgeCgroups({ cgroups, configuration, runtime }: DoctorFacts): Finding[] {
  const findings = ['cpu', 'memory', 'pids']
    .filter((name) => !cgroups.controllers.includes(name))
    .map((name) =>
      error('cgroups', `the cgroup controller ${name} is not available`, `boot with cgroup_enable=${name}`),
    );
  const { systemdCgroups } = runtime;
  const isSystemd = configuration.cgroupDriver === 'systemd';
  if (configuration.file !== undefined && systemdCgroups !== undefined && systemdCgroups !== isSystemd) {
    const wanted = systemdCgroups ? 'systemd' : 'cgroupfs';
    const message = `the agent's cgroup driver is ${configuration.cgroupDriver}, the runtime's is ${wanted}`;
    findings.push(error('cgroups', message, `set cgroupDriver: ${wanted} in ${configuration.file}`));
  }
  if (cgroups.version === 1) {
    const fix = 'boot with systemd.unified_cgroup_hierarchy=1';
    findings.push(warning('cgroups', 'cgroup v1: memory.min, memory.high and some limits have no effect', fix));
  }
  return orFine(findings, 'cgroups', `cgroup v${cgroups.version}, driver ${configuration.cgroupDriver}`);
}

function judgeRuntime({ runtime, network, programs }: DoctorFacts): Finding[] {
  const missing = programs
    .filter(({ found }) => !found)
    .map(({ name, debianPackage }) => error('programs', `${name} is missing`, `apt-get install ${debianPackage}`));
  const answers =
    runtime.version === undefined
      ? [
          error(
            'runtime',
            `no container runtime at ${runtime.endpoint}: ${runtime.error ?? 'no answer'}`,
            'systemctl start containerd, or name its socket with containerRuntimeEndpoint',
          ),
        ]
      : orFine(
          runtime.problems
            .filter((problem) => !problem.startsWith('NetworkReady'))
            .map((problem) => error('runtime', problem, 'journalctl -u containerd says why')),
          'runtime',
          `${runtime.version} at ${runtime.endpoint}`,
        );
  const cni: Finding[] = [];
  if (network.configurations.length === 0) {
    const fix = "install the cluster's network add-on, or let the proxy make the network: --pod-network";
    cni.push(error('cni', `no network configuration in ${network.directory}`, fix));
  }
  if (network.missingPlugins.length > 0) {
    const where = network.pluginDirectories.join(' or ');
    const fix = 'apt-get install containernetworking-plugins, and set bin_dir of containerd to where they are';
    cni.push(error('cni', `network plugins are missing in ${where}: ${network.missingPlugins.join(', ')}`, fix));
  }
  const unready = runtime.problems.find((problem) => problem.startsWith('NetworkReady'));
  if (unready !== undefined && cni.length === 0) {
    cni.push(
      error('cni', `the runtime says that pods can have no network: ${unready}`, 'systemctl restart containerd'),
    );
  }
  return [
    ...orFine(missing, 'programs', 'all programs that a node needs are there'),
    ...answers,
    ...orFine(cni, 'cni', `pods are connected by ${network.configurations[0] ?? ''}`),
  ];
}

function judgePorts({ ports }: DoctorFacts): Finding[] {
  const findings = ports.flatMap(({ port, what, holder }) =>
    holder === undefined || /berth|cli\/main\.ts/.test(holder)
      ? []
      : [
          error(
            'ports',
            `port ${port} (${what}) is taken by: ${holder}`,
            'stop that program, or give the port another',
          ),
        ],
  );
  return orFine(findings, 'ports', `ports ${ports.map(({ port }) => port).join(', ')} are free, or berth's own`);
}

function judgeCertificates({ certificates, nowMs }: DoctorFacts): Finding[] {
  return certificates.map(({ path, notAfterMs, isRenewed }) => {
    if (notAfterMs === undefined) {
      return error('certificates', `${path} cannot be read`, 'join the cluster again: berth join');
    }
    const date = new Date(notAfterMs).toISOString().slice(0, 10);
    if (notAfterMs <= nowMs) {
      const fix = 'give the agent a bootstrap kubeconfig with a new token (berth token create), or join again';
      return error('certificates', `${path} ran out on ${date}`, fix);
    }
    if (notAfterMs - nowMs < expiresSoonMs && !isRenewed) {
      return warning('certificates', `${path} runs out on ${date}`, 'set rotateCertificates: true, or replace it');
    }
    return ok('certificates', `${path} is valid until ${date}`);
  });
}

function judgeApi({ api, dns, configuration }: DoctorFacts): Finding[] {
  if (configuration.file === undefined) {
    return [
      warning('cluster', 'this machine has joined no cluster', 'berth join, with the line of berth token create'),
    ];
  }
  if (configuration.problem !== undefined) {
    return [error('cluster', `${configuration.file} cannot be read: ${configuration.problem}`, 'put the file right')];
  }
  const reached = api.filter(({ error: problem }) => problem === undefined);
  const findings: Finding[] = api.flatMap(({ server, error: problem }) => {
    if (problem === undefined) return [];
    const message = `the API server ${server} cannot be reached: ${problem}`;
    const fix = 'check its address, routes, firewalls, and that it runs';
    return [reached.length > 0 ? warning('apiserver', message, fix) : error('apiserver', message, fix)];
  });
  if (api.length === 0) {
    findings.push(
      error('apiserver', 'the kubeconfig of the node names no API server', 'join the cluster again: berth join'),
    );
  }
  const clock = reached.flatMap(({ server, skewMs = 0 }) => {
    const seconds = Math.round(Math.abs(skewMs) / 1000);
    const message = `the clock is ${seconds} s ${skewMs > 0 ? 'ahead of' : 'behind'} ${server}`;
    const fix = 'set the clock by NTP: timedatectl set-ntp true';
    if (Math.abs(skewMs) > skewErrorMs) return [error('clock', message, fix)];
    return Math.abs(skewMs) > skewWarningMs ? [warning('clock', message, fix)] : [];
  });
  const names = dns.unresolved.map(({ host, error: problem }) =>
    error('dns', `${host} cannot be resolved: ${problem}`, `check the name servers in ${dns.file}`),
  );
  return [
    ...orFine(findings, 'apiserver', `${reached.map(({ server }) => server).join(', ')} answers`),
    ...(reached.length > 0 ? orFine(clock, 'clock', "the clock agrees with the API server's") : []),
    ...names,
  ];
}

function judgeDns({ dns }: DoctorFacts): Finding[] {
  const fix = 'set resolvConf: /run/systemd/resolve/resolv.conf';
  if (dns.nameservers.length === 0) {
    return [
      warning('dns', `${dns.file} names no name server: pods resolve only names of the cluster`, 'add one there'),
    ];
  }
  if (dns.nameservers.every((address) => address.startsWith('127.') || address === '::1')) {
    return [warning('dns', `${dns.file} names only this machine itself, which pods cannot reach`, fix)];
  }
  return [ok('dns', `pods are given the name servers ${dns.nameservers.join(', ')}`)];
}

function judgeDisks({ disks }: DoctorFacts): Finding[] {
  return disks.map(({ what, path, freeRatio, freeInodesRatio }) => {
    const percent = (ratio: number) => `${Math.floor(ratio * 100)} %`;
    const message = `${what} (${path}): ${percent(freeRatio)} free, ${percent(freeInodesRatio)} of inodes`;
    const fix = 'remove images and logs that nobody needs, or give it a larger disk';
    if (freeRatio < least.bytes || freeInodesRatio < least.inodes) {
      return error('disk', `${message}: the agent evicts pods`, fix);
    }
    if (freeRatio < little.bytes || freeInodesRatio < little.inodes) return warning('disk', message, fix);
    return ok('disk', message);
  });
}

/** All findings, in the order of a node's start. */
export function judgeFacts(facts: DoctorFacts): Finding[] {
  const rights = facts.isRoot
    ? []
    : [warning('rights', 'not everything can be looked at without root', 'run it with sudo')];
  return [
    ...rights,
    ...judgeKernel(facts),
    ...judgeCgroups(facts),
    ...judgeRuntime(facts),
    ...judgePorts(facts),
    ...judgeCertificates(facts),
    ...judgeApi(facts),
    ...judgeDns(facts),
    ...judgeDisks(facts),
  ];
}
