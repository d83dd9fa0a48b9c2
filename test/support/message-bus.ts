// A message bus of the test's own, with a manager on it that makes slices as systemd does: directories in a folder.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm, rmdir, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createClient, type MessageBus } from 'dbus-native';
import { eventually } from './eventually.ts';

export interface TestBus extends AsyncDisposable {
  address: string;
  directory: string;
}

/** Why there can be none here; undefined when there can. */
export function busUnavailable(): string | undefined {
  return existsSync('/usr/bin/dbus-daemon') ? undefined : 'needs dbus-daemon';
}

const configuration = (
  socket: string,
) => `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
  "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path=${socket}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default"><allow send_destination="*"/><allow receive_sender="*"/><allow own="*"/></policy>
</busconfig>`;

/** Starts the bus. */
export async function startTestBus(): Promise<TestBus> {
  const directory = await mkdtemp(join(tmpdir(), 'agent-bus-'));
  const socket = join(directory, 'bus');
  const file = join(directory, 'bus.conf');
  await writeFile(file, configuration(socket));
  const daemon: ChildProcess = spawn('dbus-daemon', ['--nofork', `--config-file=${file}`], { stdio: 'ignore' });
  const ended = once(daemon, 'exit');
  await eventually('the bus', async () => existsSync(socket));
  return {
    address: `unix:path=${socket}`,
    directory,
    async [Symbol.asyncDispose]() {
      daemon.kill();
      await ended;
      await rm(directory, { recursive: true, force: true });
    },
  };
}

export interface FakeSystemd extends AsyncDisposable {
  /** Units started, with the names of their properties; and later changes, with values. */
  started: Map<string, string[]>;
  changed: [unit: string, properties: Record<string, unknown>][];
}

function sliceDirectory(root: string, slice: string): string {
  const parts = slice.replace(/\.slice$/, '').split('-');
  return join(root, ...parts.map((_, index) => `${parts.slice(0, index + 1).join('-')}.slice`));
}

/** Puts the manager onto the bus; its slices are directories below `root`. */
export async function startFakeSystemd(bus: TestBus, root: string): Promise<FakeSystemd> {
  const client: MessageBus = createClient({ busAddress: bus.address });
  const started = new Map<string, string[]>();
  const changed: FakeSystemd['changed'] = [];
  const path = '/org/freedesktop/systemd1';
  const name = 'org.freedesktop.systemd1.Manager';
  let jobs = 0;
  const error = (errorName: string, message: string) => Object.assign(new Error(message), { dbusName: errorName });
  const job = (unit: string) => {
    jobs += 1;
    const id = `${path}/job/${jobs}`;
    setTimeout(() => client.sendSignal(path, name, 'JobRemoved', 'uoss', [jobs, id, unit, 'done']), 5);
    return id;
  };
  client.exportInterface(
    {
      Subscribe: () => undefined,
      async StartTransientUnit(unit: string, _mode: string, properties: [string, unknown][]) {
        const directory = sliceDirectory(root, unit);
        if (existsSync(directory)) throw error('org.freedesktop.systemd1.UnitExists', `Unit ${unit} already exists.`);
        await mkdir(directory, { recursive: true });
        for (const file of ['cgroup.controllers', 'cgroup.subtree_control'])
          await writeFile(join(directory, file), 'cpu');
        started.set(
          unit,
          properties.map(([property]) => property),
        );
        return job(unit);
      },
      SetUnitProperties(unit: string, _runtime: boolean, properties: [string, unknown][]) {
        changed.push([unit, Object.fromEntries(properties)]);
      },
      async StopUnit(unit: string) {
        if (!started.has(unit)) throw error('org.freedesktop.systemd1.NoSuchUnit', `Unit ${unit} not loaded.`);
        started.delete(unit);
        await rm(sliceDirectory(root, unit), { recursive: true, force: true });
        return job(unit);
      },
    },
    path,
    {
      name,
      methods: {
        Subscribe: ['', '', [], []],
        StartTransientUnit: ['ssa(sv)a(sa(sv))', 'o', [], []],
        SetUnitProperties: ['sba(sv)', '', [], []],
        StopUnit: ['ss', 'o', [], []],
      },
      signals: { JobRemoved: ['uoss'] },
      properties: {},
    },
  );
  await client.requestName('org.freedesktop.systemd1', 0);
  return {
    started,
    changed,
    async [Symbol.asyncDispose]() {
      await client.close();
      await rmdir(root).catch(() => undefined);
    },
  };
}
