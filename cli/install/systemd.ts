// systemd as an installation uses it: through its own program.
import { existsSync } from 'node:fs';
import { type Exec, execOrThrow } from '#kube/process/exec.ts';

/** Whether systemd runs this machine (sd_booted(3)). */
export function isSystemdRunning(root = '/'): boolean {
  return root === '/' && existsSync('/run/systemd/system');
}

export interface ServiceControl {
  reload(): Promise<void>;
  /** Starts them with the machine from now on; systemd sees new units after a reload. */
  enable(units: readonly string[]): Promise<void>;
  /** Starts them now, or again; does not wait until they are ready. */
  restart(units: readonly string[]): Promise<void>;
  /** Stops it and starts it with the machine no more; what is not there is left. systemd forgets it with a reload. */
  disable(unit: string): Promise<void>;
  /** Stops a slice with all groups below it. */
  stopSlice(name: string): Promise<void>;
}

/** Commands of systemctl. */
export function createServiceControl(exec: Exec): ServiceControl {
  const systemctl = (...args: string[]) => execOrThrow(exec, 'systemctl', args);
  return {
    async reload() {
      await systemctl('daemon-reload');
    },
    async enable(units) {
      // Without a reload of its own: each runs every generator of the machine again.
      await systemctl('enable', '--no-reload', ...units);
    },
    async restart(units) {
      await systemctl('restart', '--no-block', ...units);
    },
    async disable(unit) {
      await exec('systemctl', ['stop', unit]);
      await exec('systemctl', ['disable', '--no-reload', unit]);
      await exec('systemctl', ['reset-failed', unit]);
    },
    async stopSlice(name) {
      await exec('systemctl', ['stop', name]);
    },
  };
}
