// What an installation makes: units under berth's names or kubelet's and kube-proxy's, and the record of what the node
// will make itself when it runs. Pure.

/** Under which names the services run. */
export type ServiceNames = 'berth' | 'kubelet';

/** A file to write. */
export interface UnitFile {
  path: string;
  content: string;
}

/** A link to make. */
export interface PlannedLink {
  path: string;
  target: string;
}

export interface InstallPlan {
  files: UnitFile[];
  links: PlannedLink[];
  /** Enabled, and started when there is something to run. */
  units: string[];
}

const unitDirectory = '/etc/systemd/system';

/** The services of either choice: [agent, proxy]. */
export const serviceNames: Record<ServiceNames, readonly [string, string]> = {
  berth: ['berth-agent.service', 'berth-proxy.service'],
  kubelet: ['kubelet.service', 'kube-proxy.service'],
};

/** Where kubeadm's drop-in expects the kubelet. */
export const kubeletProgram = '/usr/bin/kubelet';

/**
 * What only a node's programs write, and that below it for machines where the first is somebody else's already, such as
 * those that kubeadm prepared.
 */
export const nodePaths: readonly string[] = [
  '/etc/kubernetes',
  '/etc/kubernetes/kubelet.conf',
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
    'memory-volumes',
    'actuated_pods_state',
    'allocated_pods_state',
    'cpu_manager_state',
    'dra_manager_state',
    'dra_manager_state.damaged',
    'evictions.json',
    'memory_manager_state',
    'oom_kills.json',
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

/**
 * Plans the units. `packaged` says that the package has brought berth's own already; `hasKubelet` that another program
 * stands where kubelet's does, which drop-ins may name.
 */
export function planInstall(
  names: ServiceNames,
  templates: { agent: string; proxy: string },
  command: string,
  packaged: boolean,
  hasKubelet: boolean,
): InstallPlan {
  const [agentUnit, proxyUnit] = serviceNames[names];
  const [otherAgent, otherProxy] = serviceNames[names === 'berth' ? 'kubelet' : 'berth'];
  const units = [agentUnit, proxyUnit];
  if (names === 'berth' && packaged) return { files: [], links: [], units };
  const agent = fillIn(templates.agent, command, otherAgent);
  const files = [
    { path: `${unitDirectory}/${agentUnit}`, content: agent },
    { path: `${unitDirectory}/${proxyUnit}`, content: fillIn(templates.proxy, command, otherProxy) },
  ];
  if (names === 'berth') return { files, links: [], units };
  if (hasKubelet) {
    files.push({ path: `${unitDirectory}/kubelet.service.d/zz-berth.conf`, content: execDropIn(agent) });
  }
  // Whoever starts kubelet by its name, as kubeadm's drop-in does, starts the agent.
  const links = hasKubelet ? [] : [{ path: kubeletProgram, target: command }];
  return { files, links, units };
}

/** Of the directories a node makes, the outermost of those that are not there yet. */
export function selectAbsent(directories: readonly string[], exists: (path: string) => boolean): string[] {
  const absent = directories.filter((path) => !exists(path));
  return absent.filter((path) => !absent.some((other) => path.startsWith(`${other}/`)));
}
