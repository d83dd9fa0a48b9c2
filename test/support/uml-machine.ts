// A second machine with a kernel, systemd and cgroup v2 of its own: Debian under user-mode Linux, on a tap network.
// Commands run through files that both sides see.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { rename } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { systemClock } from '#kube/process/clock.ts';
import { type ExecResult, execOrThrow, systemExec } from '#kube/process/exec.ts';
import { eventually } from './eventually.ts';
import type { NetworkNamespace } from './network-namespace.ts';

const base = '/var/cache/berth-test/machine-base';
const modules = '/usr/lib/uml/modules';
const suite = 'bookworm';
const packages = [
  'systemd-sysv,dbus,udev,kmod,iproute2,iputils-ping,containerd,runc,containernetworking-plugins',
  'iptables,nftables,conntrack,ipset,procps,util-linux',
].join(',');

export interface UmlMachineOptions {
  name: string;
  /** Where the tap is on the host's side. */
  namespace: NetworkNamespace;
  /** For example 10.247.0: the host gets .1, the machine .2. */
  prefix: string;
  memoryMiB?: number;
  /** A directory on a file system of its own: watches of directories see nothing on the host's files. */
  ownDirectory?: string;
}

export interface UmlMachine extends AsyncDisposable {
  address: string;
  /** The machine's root directory, seen from the host. */
  root: string;
  /** Runs a shell script on the machine as root. */
  run(script: string, timeoutMs?: number): Promise<ExecResult>;
  /** Puts a file on the machine. */
  put(path: string, content: string, mode?: number): void;
  boot(): Promise<void>;
  /** Resolves when the machine has powered off by itself. */
  off(timeoutMs: number): Promise<void>;
  /** Lets no packet through to the machine or from it, or lets them through again. */
  cutOff(isCut: boolean): Promise<void>;
  /** As if the power went. */
  kill(): Promise<void>;
  console(): string;
}

/** Why such machines cannot run here; undefined when they can. */
export function machinesUnavailable(): string | undefined {
  if (process.getuid?.() !== 0) return 'needs root to make a machine';
  if (!existsSync('/usr/bin/linux.uml')) return 'needs user-mode Linux: apt-get install user-mode-linux';
  if (!existsSync(`${base}.complete`) && !existsSync('/usr/sbin/debootstrap'))
    return 'needs debootstrap: apt-get install debootstrap';
  return existsSync('/dev/net/tun') ? undefined : 'needs /dev/net/tun';
}

async function ensureBase(): Promise<void> {
  if (existsSync(`${base}.complete`)) return;
  rmSync(base, { recursive: true, force: true });
  mkdirSync(dirname(base), { recursive: true });
  await execOrThrow(systemExec, 'debootstrap', ['--variant=minbase', `--include=${packages}`, suite, base]);
  writeFileSync(`${base}.complete`, '');
}

/** Runs every script that appears beside it. */
const runner = `#!/bin/sh
cd /var/test-commands
while :; do
  for script in *.sh; do
    [ -e "$script" ] || continue
    name=\${script%.sh}
    mv "$script" "$name.running"
    ( setsid sh "$name.running" >"$name.out" 2>"$name.err"; echo $? >"$name.rc.new"; mv "$name.rc.new" "$name.rc" ) &
  done
  sleep 0.1
done
`;

/** File systems of its own, by the names of their devices: what they hold outlives the power. */
const usualDisks: Record<string, { path: string; mebibytes: number }> = {
  ubda: { path: '/var/lib/containerd', mebibytes: 1024 },
  ubdb: { path: '/var/lib/kubelet', mebibytes: 512 },
};

const unitsWith = (disks: typeof usualDisks): Record<string, string> => ({
  'test-disks.service': `[Unit]
DefaultDependencies=no
After=systemd-remount-fs.service systemd-udevd.service systemd-modules-load.service
Before=local-fs.target containerd.service
[Service]
Type=oneshot
RemainAfterExit=yes
${Object.entries(disks)
  .map(([device, { path }]) => `ExecStart=/bin/mount -t ext4 /dev/${device} ${path}`)
  .join('\n')}
[Install]
WantedBy=local-fs.target
`,
  'test-network.service': `[Unit]
DefaultDependencies=no
Before=network-online.target
After=systemd-udevd.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh /etc/test-network
[Install]
WantedBy=network-online.target multi-user.target
`,
  'test-runner.service': `[Unit]
After=test-network.service
[Service]
ExecStart=/bin/sh /etc/test-runner
KillMode=process
[Install]
WantedBy=multi-user.target
`,
});

const containerdConfig = `version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/berth/pause:1"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = true
`;

/** Each costs half a second whenever systemd reads its units again; none has anything to do on such a machine. */
const idleGenerators = [
  'cryptsetup',
  'debug',
  'getty',
  'gpt-auto',
  'hibernate-resume',
  'integritysetup',
  'rc-local',
  'run',
  'system-update',
  'sysv',
  'veritysetup',
];
/** Would take the only processor from the tests. */
const idleUnits = ['apt-daily.timer', 'apt-daily-upgrade.timer', 'e2scrub_all.timer', 'e2scrub_reap.service'];

/** Makes a machine; `boot` starts it. Disposing it removes everything. */
export async function createUmlMachine(options: UmlMachineOptions): Promise<UmlMachine> {
  const { name, namespace, prefix } = options;
  await ensureBase();
  const directory = mkdtempSync(join(tmpdir(), `berth-machine-`));
  const root = join(directory, 'root');
  const tap = `tap-${name}`.slice(0, 15);
  for (const part of ['root', 'upper', 'work']) mkdirSync(join(directory, part));
  const layers = `lowerdir=${base},upperdir=${directory}/upper,workdir=${directory}/work`;
  await execOrThrow(systemExec, 'mount', ['-t', 'overlay', '-o', layers, 'overlay', root]);
  const address = `${prefix}.2`;
  const { ownDirectory } = options;
  const disks =
    ownDirectory === undefined ? usualDisks : { ...usualDisks, ubdc: { path: ownDirectory, mebibytes: 16 } };
  const units = unitsWith(disks);
  const put = (path: string, content: string, mode = 0o644) => {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), content, { mode });
  };
  put('etc/hostname', `${name}\n`);
  put('etc/hosts', `127.0.0.1 localhost\n${address} ${name}\n`);
  put('etc/containerd/config.toml', containerdConfig);
  put('etc/dpkg/dpkg.cfg.d/test', 'force-unsafe-io\n');
  put('etc/modules-load.d/test.conf', 'overlay\nbr_netfilter\nveth\nbridge\niptable_nat\nxt_comment\nxt_mark\n');
  put(
    'etc/test-network',
    `ip link set lo up\nip address replace ${address}/24 dev vec0\nip link set vec0 up\nip route replace default via ${prefix}.1\n`,
  );
  put('etc/test-runner', runner);
  mkdirSync(join(root, 'var/test-commands'));
  for (const [unit, text] of Object.entries(units)) put(`etc/systemd/system/${unit}`, text);
  mkdirSync(join(root, 'etc/systemd/system-generators'));
  for (const name of idleGenerators)
    symlinkSync('/dev/null', join(root, 'etc/systemd/system-generators', `systemd-${name}-generator`));
  for (const name of idleUnits) symlinkSync('/dev/null', join(root, 'etc/systemd/system', name));
  for (const [device, { path, mebibytes }] of Object.entries(disks)) {
    const file = join(directory, device);
    await execOrThrow(systemExec, 'truncate', ['--size', `${mebibytes}M`, file]);
    await execOrThrow(systemExec, 'mkfs.ext4', ['-q', '-m', '0', file]);
    mkdirSync(join(root, path), { recursive: true });
  }
  const release = readdirSync(modules)[0] ?? '';
  mkdirSync(join(root, 'lib/modules'), { recursive: true });
  await execOrThrow(systemExec, 'cp', ['-a', join(modules, release), join(root, 'lib/modules/')]);
  await execOrThrow(systemExec, 'chroot', [root, 'systemctl', 'enable', ...Object.keys(units)]);
  // Its kernel lacks the module by which iptables speaks to nftables.
  for (const program of ['iptables', 'ip6tables']) {
    const legacy = `/usr/sbin/${program}-legacy`;
    await execOrThrow(systemExec, 'chroot', [root, 'update-alternatives', '--set', program, legacy]);
  }
  let machine: ChildProcess | undefined;
  let output = '';
  let commands = 0;

  async function run(script: string, timeoutMs = 60_000): Promise<ExecResult> {
    commands += 1;
    const path = join(root, 'var/test-commands', `${process.pid}-${commands}`);
    writeFileSync(`${path}.new`, `export PATH=/usr/sbin:/usr/bin:/sbin:/bin\n${script}\n`);
    await rename(`${path}.new`, `${path}.sh`);
    const deadlineMs = systemClock.monotonicMs() + timeoutMs;
    while (!existsSync(`${path}.rc`)) {
      if (systemClock.monotonicMs() > deadlineMs)
        throw new Error(`the machine has not run: ${script}\n${output.slice(-2000)}`);
      await systemClock.sleep(50);
    }
    const read = (suffix: string) => readFileSync(`${path}.${suffix}`, 'utf8');
    return { exitCode: Number(read('rc')), stdout: read('out'), stderr: read('err') };
  }

  async function kill(): Promise<void> {
    if (machine === undefined || machine.exitCode !== null || machine.signalCode !== null) return;
    const ended = once(machine, 'exit');
    // Its kernel and its processes are processes of one group.
    process.kill(-(machine.pid ?? 0), 'SIGKILL');
    await ended;
  }

  await execOrThrow(namespace.exec, 'ip', ['tuntap', 'add', tap, 'mode', 'tap']);
  await execOrThrow(namespace.exec, 'ip', ['address', 'add', `${prefix}.1/24`, 'dev', tap]);
  await execOrThrow(namespace.exec, 'ip', ['link', 'set', tap, 'up']);

  return {
    address,
    root,
    run,
    put,
    kill,
    console: () => output,
    async boot() {
      await kill();
      const args = [
        'linux.uml',
        'root=/dev/root',
        'rootfstype=hostfs',
        `rootflags=${root}`,
        'rw',
        `mem=${options.memoryMiB ?? 1024}M`,
        ...Object.keys(disks).map((device) => `${device}=${join(directory, device)}`),
        `vec0:transport=tap,ifname=${tap},depth=128,gro=1`,
        'con=null',
        'con0=null,fd:2',
        'con1=fd:0,fd:1',
        'quiet',
      ];
      const started = spawn('nsenter', [`--net=${namespace.path}`, ...args], { stdio: 'pipe', detached: true });
      machine = started;
      for (const stream of [started.stdout, started.stderr]) {
        stream?.on('data', (chunk: Buffer) => {
          output = `${output}${chunk.toString()}`.slice(-20_000);
        });
      }
      await eventually(
        'the machine',
        async () => (await run('systemctl is-active test-runner', 5000)).exitCode === 0,
        90_000,
      );
    },
    async cutOff(isCut) {
      // Not the link itself: the machine's driver does not come back from a tap that is down.
      const action = isCut ? '-I' : '-D';
      for (const [chain, flag] of [
        ['INPUT', '-i'],
        ['OUTPUT', '-o'],
        ['FORWARD', '-i'],
        ['FORWARD', '-o'],
      ] as const) {
        await execOrThrow(namespace.exec, 'iptables', ['-w', '5', action, chain, flag, tap, '-j', 'DROP']);
      }
    },
    async off(timeoutMs) {
      if (machine === undefined || machine.exitCode !== null) return;
      await once(machine, 'exit', { signal: AbortSignal.timeout(timeoutMs) });
    },
    [Symbol.asyncDispose]: async () => {
      await kill();
      await systemExec('umount', ['--lazy', root]);
      rmSync(directory, { recursive: true, force: true });
      await namespace.exec('ip', ['link', 'delete', tap]);
    },
  };
}
