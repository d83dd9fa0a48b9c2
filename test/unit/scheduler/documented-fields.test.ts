// docs/scheduler.md says what becomes of every field and plugin of the configuration.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { it } from 'node:test';
import { argShapes, schedulerConfigShape } from '../../../control-plane-lite/scheduler/profile/config-shape.ts';
import { filterPlugins, scoringPlugins } from '../../../control-plane-lite/scheduler/profile/profile-config.ts';

const text = readFileSync(join(import.meta.dirname, '../../../docs/scheduler.md'), 'utf8');

it('the fields of KubeSchedulerConfiguration are documented', () => {
  const missing = Object.keys(schedulerConfigShape).filter((field) => !text.includes(`\`${field}`));
  assert.deepEqual(missing, []);
});

it('plugins, their weights and their arguments are documented', () => {
  const rows = text.split('\n').filter((line) => line.startsWith('| '));
  const rowOf = (plugin: string) => rows.find((line) => line.startsWith(`| ${plugin} `)) ?? '';
  for (const plugin of new Set([...filterPlugins, ...Object.keys(scoringPlugins)])) {
    assert.notEqual(rowOf(plugin), '', plugin);
    const weight = scoringPlugins[plugin];
    if (weight !== undefined) assert.match(rowOf(plugin), new RegExp(`\\| ${weight} `), plugin);
    for (const field of Object.keys(argShapes[plugin] ?? {})) assert.ok(rowOf(plugin).includes(field), field);
  }
});
