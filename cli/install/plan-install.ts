// What an installation makes: units under berth's names or kubelet's and kube-proxy's, and the record of what the node
// will make itself when it runs. Pure.

/** Under which names the services run. */
export type ServiceNames = 'berth' | 'kubelet';

/** A file to write. */
export interface UnitFile {
  path: string;
  content: string;
}

export interface InstallPlan {
  files: UnitFile[];
  /** Enabled, and started when there is something to run. */
  units: string[];
}

const unitDirectory = '/etc/systemd/system';

/** The services of either choice: [agent, proxy]. */
export const serviceNames: Record<ServiceNames, readonly [string, string]> = {
  berth: ['berth-agent.service', 'berth-proxy.service'],
  kubelet: ['kubelet.service', 'kube-proxy.service'],
};

/**
 * Directories that only a node's programs write to, and those below them for machines where the first are somebody
 * else's already.
 */
export const nodeDirectories: readonly string[] = [
  '/etc/kubernetes',
  '/var/lib/kubelet',
  ...[
    'pki',
    'pods',
    'plugins',
    'plugins_registry',
    'device-plugins',
    'pod-resources',
    'image_manager',
    'checkpoints',
    'berth',
  ].map((name) => `/var/lib/kubelet/${name}`),
  '/var/lib/kube-proxy',
  '/var/log/pods',
  '/var/log/containers',
  '/var/lib/cni',
];

/** Kernel settings that agent, proxy and network plugins change. */
export const kernelSettings: readonly string[] = [
  'net/ipv4/ip_forward',
  'net/ipv6/conf/all/forwarding',
  'net/ipv4/conf/all/route_localnet',
  'net/bridge/bridge-nf-call-iptables',
  'net/bridge/bridge-nf-call-ip6tables',
  'net/netfilter/nf_conntrack_max',
  'net/netfilter/nf_conntrack_tcp_timeout_established',
  'net/netfilter/nf_conntrack_tcp_timeout_close_wait',
  'vm/overcommit_memory',
  'vm/panic_on_oom',
  'kernel/panic',
  'kernel/panic_on_oops',
  'kernel/keys/root_maxkeys',
  'kernel/keys/root_maxbytes',
];

function fillIn(template: string, command: string, other: string): string {
  return template.replaceAll('@berth@', command).replaceAll('@other@', other);
}

/** The line that another package's drop-in (kubeadm's) may have set is set again. */
function execDropIn(unit: string): string {
  const line = unit.split('\n').find((text) => text.startsWith('ExecStart=')) ?? '';
  return `# A drop-in of kubeadm's package names /usr/bin/kubelet: this one, read last, names berth again.\n[Service]\nExecStart=\n${line}\n`;
}

/** Plans the units. `packaged` says that the package has brought berth's own already. */
export function planInstall(
  names: ServiceNames,
  templates: { agent: string; proxy: string },
  command: string,
  packaged: boolean,
): InstallPlan {
  const [agentUnit, proxyUnit] = serviceNames[names];
  const [otherAgent, otherProxy] = serviceNames[names === 'berth' ? 'kubelet' : 'berth'];
  const units = [agentUnit, proxyUnit];
  if (names === 'berth' && packaged) return { files: [], units };
  const agent = fillIn(templates.agent, command, otherAgent);
  const files = [
    { path: `${unitDirectory}/${agentUnit}`, content: agent },
    { path: `${unitDirectory}/${proxyUnit}`, content: fillIn(templates.proxy, command, otherProxy) },
  ];
  if (names === 'kubelet') {
    files.push({ path: `${unitDirectory}/kubelet.service.d/zz-berth.conf`, content: execDropIn(agent) });
  }
  return { files, units };
}

/** Of the directories a node makes, the outermost of those that are not there yet. */
export function selectAbsent(directories: readonly string[], exists: (path: string) => boolean): string[] {
  const absent = directories.filter((path) => !exists(path));
  return absent.filter((path) => !absent.some((other) => path.startsWith(`${other}/`)));
}
