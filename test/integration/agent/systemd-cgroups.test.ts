// Slices for pods over a real message bus, with a manager of the test's own behind it.
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { systemClock } from '#kube/process/clock.ts';
import { createCgroupManager } from '../../../agent/cgroup/cgroup-manager.ts';
import { createCgroupV2 } from '../../../agent/cgroup/cgroup-v2.ts';
import { createSystemdCgroups } from '../../../agent/cgroup/systemd-cgroups.ts';
import { BusError, openBus } from '../../../agent/systemd/bus.ts';
import { busUnavailable, startFakeSystemd, startTestBus } from '../../support/message-bus.ts';
import { container, podOf } from '../../unit/agent/fixtures.ts';

describe('the systemd cgroup driver', { skip: busUnavailable() ?? false }, () => {
  it('makes slices for all pods, classes and a pod, limits them, and stops them', async () => {
    await using bus = await startTestBus();
    const root = join(bus.directory, 'cgroup');
    await mkdir(root);
    for (const file of ['cgroup.controllers', 'cgroup.subtree_control']) await writeFile(join(root, file), 'cpu');
    await using systemd = await startFakeSystemd(bus, root);
    const connection = openBus(bus.address);
    const fs = createSystemdCgroups(createCgroupV2(root, systemClock), connection, systemClock);
    const manager = createCgroupManager({
      fs,
      driver: 'systemd',
      root: '/',
      perQos: true,
      limits: { cpuCfsQuota: true, cpuCfsQuotaPeriodMs: 100, podPidsLimit: 50 },
      enforceAllocatable: true,
    });
    try {
      await manager.ensureNode(
        new Map([
          ['memory', 1 << 30],
          ['cpu', 2000],
        ]),
      );
      const limits = { limits: { cpu: '150m', memory: '64Mi' } };
      const pod = podOf({ containers: [container('c', { resources: limits })] }, { uid: 'ab-12' });
      await manager.ensurePod(pod);
      assert.deepEqual(
        [...systemd.started.keys()],
        [
          'kubepods.slice',
          'kubepods-burstable.slice',
          'kubepods-besteffort.slice',
          'kubepods-burstable-podab_12.slice',
        ],
      );
      assert.ok(systemd.started.get('kubepods-burstable-podab_12.slice')?.includes('Wants'));
      const changes = Object.fromEntries(systemd.changed);
      assert.equal(changes['kubepods.slice']?.['MemoryMax'], 1n << 30n);
      assert.deepEqual(
        Object.fromEntries(
          Object.entries(changes['kubepods-burstable-podab_12.slice'] ?? {}).map(([k, v]) => [k, Number(v)]),
        ),
        {
          CPUWeight: 6,
          CPUQuotaPerSecUSec: 150_000,
          CPUQuotaPeriodUSec: 100_000,
          MemoryMax: 64 * 1024 * 1024,
          TasksMax: 50,
        },
      );
      assert.equal(manager.parentOf(pod), 'kubepods-burstable-podab_12.slice');
      const directory = join(root, 'kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podab_12.slice');
      assert.ok(existsSync(directory));
      await manager.ensurePod(pod);
      await manager.removePod('ab-12');
      assert.equal(existsSync(directory), false);
      assert.equal(systemd.started.has('kubepods-burstable-podab_12.slice'), false);
      await manager.removePod('ab-12');
    } finally {
      await connection.close();
    }
  });

  it('says which call failed when the bus is away or nobody answers', async () => {
    await using bus = await startTestBus();
    const call = { destination: 'org.nobody.There', path: '/', interface: 'a.b', member: 'C' };
    const connection = openBus(bus.address);
    const absent = openBus('unix:path=/nonexistent/bus');
    try {
      await assert.rejects(connection.call(call), (error) => {
        assert.ok(error instanceof BusError);
        return error.errorName === 'org.freedesktop.DBus.Error.ServiceUnknown';
      });
      await assert.rejects(absent.call(call), /org.nobody.There C/);
    } finally {
      await connection.close();
      await absent.close();
    }
  });
});
