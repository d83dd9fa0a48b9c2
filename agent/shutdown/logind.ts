// systemd's login manager as a node uses it: it tells that the machine is about to end, and holds that up as long as
// somebody has a lock, but not longer than it is configured to.
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Exec } from '#kube/process/exec.ts';
import type { Bus } from '../systemd/bus.ts';

const destination = 'org.freedesktop.login1';
const path = '/org/freedesktop/login1';
const manager = 'org.freedesktop.login1.Manager';
const overrideFile = '/etc/systemd/logind.conf.d/99-kubelet.conf';

export interface Logind {
  /** How long a lock can hold up the machine's end. Rejects where there is no login manager. */
  maxDelayMs(): Promise<number>;
  /** Configures that time, as kubelet does. */
  setMaxDelay(delayMs: number): Promise<void>;
  /** Holds a lock until the signal is aborted; rejects when it cannot be had or is lost. */
  holdLock(signal: AbortSignal): Promise<void>;
  /** Calls the listener with true when the machine is about to end, and false when it is not any more. */
  watchShutdown(listener: (isStarting: boolean) => void): Promise<() => void>;
}

/** The number in a variant, however deep the library wraps it. */
export function numberIn(value: unknown): number | undefined {
  if (typeof value === 'number' || typeof value === 'bigint') return Number(value);
  if (typeof value === 'string' && /^\d+$/.test(value)) return Number(value);
  if (Array.isArray(value)) {
    for (const item of value.toReversed()) {
      const found = numberIn(item);
      if (found !== undefined) return found;
    }
  }
  if (typeof value === 'object' && value !== null && 'value' in value) return numberIn(value.value);
  return undefined;
}

/** Connects through the bus; locks are held by systemd's own program, since Node cannot be handed open files. */
export function createLogind(bus: Bus, exec: Exec, pid: number, override = overrideFile): Logind {
  return {
    async maxDelayMs() {
      const answer = await bus.call({
        destination,
        path,
        interface: 'org.freedesktop.DBus.Properties',
        member: 'Get',
        signature: 'ss',
        body: [manager, 'InhibitDelayMaxUSec'],
      });
      const microseconds = numberIn(answer);
      if (microseconds === undefined) throw new Error('the login manager does not tell InhibitDelayMaxUSec');
      return microseconds / 1000;
    },
    async setMaxDelay(delayMs) {
      await mkdir(dirname(override), { recursive: true, mode: 0o755 });
      const seconds = Math.ceil(delayMs / 1000);
      const text = `# Kubelet logind override\n[Login]\nInhibitDelayMaxSec=${seconds}\n`;
      await writeFile(override, text, { mode: 0o644 });
      const hangUp = 1;
      await bus.call({
        destination: 'org.freedesktop.systemd1',
        path: '/org/freedesktop/systemd1',
        interface: 'org.freedesktop.systemd1.Manager',
        member: 'KillUnit',
        signature: 'ssi',
        body: ['systemd-logind.service', 'all', hangUp],
      });
    },
    async holdLock(signal) {
      const lock = ['--what=shutdown', '--mode=delay', '--who=kubelet'];
      const why = '--why=Kubelet needs time to handle node shutdown';
      // Ends with the agent, however that ends, so that no lock is left behind.
      const held = ['tail', `--pid=${pid}`, '-f', '/dev/null'];
      try {
        const { exitCode, stderr } = await exec('systemd-inhibit', [...lock, why, ...held], { signal });
        if (!signal.aborted) throw new Error(`systemd-inhibit ended with ${exitCode}: ${stderr.trim()}`);
      } catch (error) {
        if (!signal.aborted) throw error;
      }
    },
    watchShutdown: (listener) =>
      bus.watch({ sender: destination, path, interface: manager, member: 'PrepareForShutdown' }, ([isStarting]) =>
        listener(isStarting === true),
      ),
  };
}
