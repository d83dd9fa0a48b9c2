import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { pino } from 'pino';
import { keepGroupSwitches } from '../../../agent/stats/group-switches.ts';
import { createMetricGroups } from '../../../agent/stats/metric-groups.ts';
import { createMetricText } from '../../../agent/stats/metric-text.ts';
import { renderEphemeralStorage } from '../../../agent/stats/render-ephemeral-storage.ts';

/** Keeps the processor busy. */
function burn(ms: number): void {
  const untilMs = performance.now() + ms;
  while (performance.now() < untilMs) Math.sqrt(untilMs);
}

describe('groups of metrics', () => {
  it('tell the series and bytes of what they last collected', () => {
    const groups = createMetricGroups();
    const text = groups.render('cpu', (target) => {
      target.family('a_total', 'counter', 'Ä.');
      target.add('x="1"', 1);
      target.add('x="2"', 2);
    });
    const price = groups.prices().find(({ group }) => group === 'cpu');
    assert.deepEqual([price?.series, price?.bytes, price?.collections], [2, Buffer.byteLength(text), 1]);
    assert.match(groups.text(), /^berth_metric_group_series\{group="cpu"\} 2$/m);
  });

  it('tell the processor time they cost, true within a tenth', () => {
    const groups = createMetricGroups();
    const before = process.threadCpuUsage();
    for (let round = 0; round < 20; round++) {
      groups.spend('sample', () => burn(2));
      groups.render('memory', () => burn(4));
    }
    const after = process.threadCpuUsage(before);
    const spent = groups.prices().reduce((sum, { cpuSeconds }) => sum + cpuSeconds, 0);
    const real = (after.user + after.system) / 1e6;
    assert.ok(Math.abs(spent - real) < real * 0.1, `${spent} of ${real}`);
  });

  it('collect nothing while they are off', () => {
    const groups = createMetricGroups();
    assert.ok(groups.set('network', false));
    const text = groups.render('network', () => assert.fail('collected'));
    assert.equal(text, '');
    assert.match(groups.text(), /^berth_metric_group_enabled\{group="network"\} 0$/m);
    assert.ok(groups.set('network', true));
    assert.ok(groups.isOn('network'));
  });

  it('stay off when the agent starts again', async (t) => {
    const directory = mkdtempSync(join(tmpdir(), 'groups-'));
    t.after(() => rmSync(directory, { recursive: true }));
    const path = join(directory, 'berth', 'metric-groups.json');
    const open = () => keepGroupSwitches(createMetricGroups(), path, pino({ level: 'silent' }));
    const first = open();
    first.set('network', false);
    first.set('cpu', false);
    first.set('cpu', true);
    assert.equal(first.set('none', false), false);
    await first.saved();
    assert.deepEqual([open().isOn('network'), open().isOn('cpu')], [false, true]);
    for (const text of ['{', '{"off":["none"]}', '[]']) {
      writeFileSync(path, text);
      assert.equal(open().isOn('network'), true, text);
    }
  });

  it('do not let the shared sample or what is not there be switched', () => {
    const groups = createMetricGroups();
    assert.equal(groups.set('sample', false), false);
    assert.equal(groups.set('none', false), false);
  });
});

describe('the disk that pods use', () => {
  it('is told by source', () => {
    const text = createMetricText();
    const containers = [{ name: 'c', rootfsBytes: 10, logBytes: undefined }];
    renderEphemeralStorage(text, [{ namespace: 'n', name: 'p', containers, volumes: [{ name: 'v', usedBytes: 5 }] }]);
    assert.deepEqual(text.toString().split('\n').slice(2, 4), [
      'berth_pod_ephemeral_storage_bytes{name="c",namespace="n",pod="p",source="rootfs"} 10',
      'berth_pod_ephemeral_storage_bytes{name="v",namespace="n",pod="p",source="volume"} 5',
    ]);
  });
});
