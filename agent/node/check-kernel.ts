// The kernel settings that a node of Kubernetes is run with (pkg/kubelet/cm/container_manager_linux.go): memory is
// promised beyond what there is, a kernel that fails starts again, and every container may have keys of its own.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

const wanted: Readonly<Record<string, string>> = {
  'vm/overcommit_memory': '1',
  'vm/panic_on_oom': '0',
  'kernel/panic': '10',
  'kernel/panic_on_oops': '1',
  'kernel/keys/root_maxkeys': '1000000',
  'kernel/keys/root_maxbytes': '25000000',
};

/** Which settings differ, and the command that puts each right. Settings that the kernel lacks differ from nothing. */
export async function findKernelFaults(root = '/proc/sys'): Promise<string[]> {
  const faults: string[] = [];
  for (const [name, value] of Object.entries(wanted)) {
    const actual = (await readFile(join(root, name), 'utf8').catch(() => value)).trim();
    const command = `sysctl -w ${name.replaceAll('/', '.')}=${value}`;
    if (actual !== value) {
      faults.push(`invalid kernel flag: ${name}, expected value: ${value}, actual value: ${actual} (${command})`);
    }
  }
  return faults;
}
