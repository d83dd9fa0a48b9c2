// Runs a program in a kernel of its own (user-mode Linux, on the machine's files, which it cannot change): for what the
// machine's kernel does not have, such as ipvs and SCTP. Everything is gone when it ends.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const kernel = '/usr/bin/linux.uml';
/** Set in programs that run inside. */
const insideVariable = 'BERTH_TEST_INSIDE_UML';

const modules = [
  'ip_vs ip_vs_rr ip_vs_sh ip_vs_mh dummy veth bridge br_netfilter nf_conntrack_netlink sctp',
  'iptable_nat iptable_filter iptable_mangle ip6table_nat ip6table_filter ip6table_mangle',
  'ip_set ip_set_hash_ip ip_set_hash_ipport ip_set_hash_ipportip ip_set_hash_ipportnet ip_set_bitmap_port',
].join(' ');

export interface UmlRun {
  /** Undefined when the program was ended because it took too long. */
  exitCode: number | undefined;
  /** What the program wrote to standard output and standard error, and the kernel to its console. */
  output: string;
}

export interface UmlOptions {
  timeoutMs: number;
  memoryMiB?: number;
  /** A directory of the machine that is writable inside, under the same path. */
  writable?: string;
}

/** True in a program that was started by `runInUml`. */
export function isInsideUml(): boolean {
  return process.env[insideVariable] === '1';
}

/** Why there can be no such kernel here; undefined when there can. */
export function umlUnavailable(): string | undefined {
  if (process.getuid?.() !== 0) return 'needs root';
  if (!existsSync(kernel)) return 'needs user-mode Linux: apt-get install user-mode-linux';
  return existsSync('/usr/sbin/ipvsadm') ? undefined : 'needs ipvsadm: apt-get install ipvsadm';
}

function quote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

/** The first process inside. Its kernel lacks the module by which iptables speaks to nftables. */
function initScript(argv: readonly string[], directory: string, writable: string | undefined): string {
  const mounts = [directory, ...(writable === undefined ? [] : [writable])];
  return `#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/run TMPDIR=/run/tmp ${insideVariable}=1
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tmpfs tmpfs /run
mkdir -p /run/netns /run/tmp /run/modules/lib
ln -s /usr/lib/uml/modules /run/modules/lib/modules
printf '#!/bin/sh\\nexec /sbin/modprobe -d /run/modules "$@"\\n' > /run/modprobe
chmod +x /run/modprobe
echo /run/modprobe > /proc/sys/kernel/modprobe
${mounts.map((path) => `mount -t hostfs -o ${quote(path)} none ${quote(path)}`).join('\n')}
for module in ${modules}; do modprobe -d /run/modules $module; done
mount --bind /usr/sbin/xtables-legacy-multi /usr/sbin/xtables-nft-multi
ip link set lo up
cd ${quote(process.cwd())}
${argv.map(quote).join(' ')} > ${quote(join(directory, 'output'))} 2>&1
echo $? > ${quote(join(directory, 'code'))}
sync
echo o > /proc/sysrq-trigger
sleep 60
`;
}

/** Runs a program of this machine as root in a kernel of its own, and waits for its end. */
export async function runInUml(argv: readonly string[], options: UmlOptions): Promise<UmlRun> {
  const directory = mkdtempSync(join(tmpdir(), 'berth-uml-'));
  try {
    const init = join(directory, 'init');
    writeFileSync(init, initScript(argv, directory, options.writable), { mode: 0o755 });
    const args = [
      'root=/dev/root',
      'rootfstype=hostfs',
      'rootflags=/',
      'ro',
      `mem=${options.memoryMiB ?? 1024}M`,
      `init=${init}`,
      'con=null',
      'con0=null,fd:2',
      'con1=fd:0,fd:1',
      'quiet',
    ];
    const machine = spawn(kernel, args, { stdio: ['ignore', 'pipe', 'pipe'], detached: true });
    let console = '';
    for (const stream of [machine.stdout, machine.stderr]) {
      stream.on('data', (chunk: Buffer) => {
        console = `${console}${chunk.toString()}`.slice(-20_000);
      });
    }
    const kill = (): void => {
      // Its kernel and its processes are processes of one group.
      if (machine.pid !== undefined && machine.exitCode === null) process.kill(-machine.pid, 'SIGKILL');
    };
    const timer = setTimeout(kill, options.timeoutMs);
    await once(machine, 'exit');
    clearTimeout(timer);
    const read = (name: string): string => {
      const path = join(directory, name);
      return existsSync(path) ? readFileSync(path, 'utf8') : '';
    };
    const code = read('code').trim();
    return { exitCode: code === '' ? undefined : Number(code), output: `${read('output')}\n${console}` };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
