import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import type { ConfigShape } from '#kube/process/config-file.ts';
import { configurationShape } from '../../../../agent/config/configuration-shape.ts';
import defaults from '../../../../agent/config/data/defaults.json' with { type: 'json' };
import flags from '../../../../agent/config/data/flags.json' with { type: 'json' };
import { notHonoured } from '../../../../agent/config/field-support.ts';
import { fieldOfFlag, whyIgnored } from '../../../../agent/config/flag-table.ts';
import configz from '../../../data/agent/kubelet-configz.json' with { type: 'json' };

const text = readFileSync(new URL('../../../../docs/configuration.md', import.meta.url), 'utf8');

/** Rows of the tables by the first cell, without marks of code. */
const rows = new Map(
  text.split('\n').flatMap((line) => {
    const [, first = '', ...cells] = line.split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll('`', ''));
    return first === '' ? [] : [[first, cells] as const];
  }),
);

function pathsOf(shape: { [field: string]: ConfigShape }, prefix = ''): string[] {
  return Object.entries(shape).flatMap(([name, inner]) => {
    const path = `${prefix}${name}`;
    const isLeaf = typeof inner !== 'object' || Array.isArray(inner) || notHonoured[path] !== undefined;
    return isLeaf ? [path] : pathsOf(inner, `${path}.`);
  });
}

function valueAt(fields: unknown, path: string): unknown {
  return path.split('.').reduce((value, name) => (value as Record<string, unknown> | undefined)?.[name], fields);
}

describe('the document of the configuration', () => {
  const fields = pathsOf(configurationShape);

  it('says of every field whether it is honoured, its default and its flag', () => {
    for (const path of fields) {
      const row = rows.get(path);
      assert.ok(row, `${path} is missing`);
      const [flag, fallback, here] = row;
      const reason = notHonoured[path];
      assert.equal(here, reason === undefined ? 'honoured' : `accepted, not honoured: ${reason}`, path);
      const value = valueAt(defaults, path);
      const shown =
        value === undefined || value === '' ? '' : typeof value === 'string' ? value : JSON.stringify(value);
      assert.equal(fallback, shown, path);
      if (flag !== '') assert.equal(fieldOfFlag[(flag ?? '').slice(2)], path);
    }
  });

  it('names no field that does not exist', () => {
    for (const path of Object.keys(notHonoured)) assert.ok(fields.includes(path), path);
    for (const path of Object.values(fieldOfFlag)) assert.ok(fields.includes(path), path);
  });

  it('says of every flag that is no field whether it has an effect', () => {
    for (const { name } of flags) {
      if (fieldOfFlag[name] !== undefined) continue;
      const wanted = whyIgnored(name) === undefined ? 'honoured' : 'accepted, no effect';
      assert.equal(rows.get(`--${name}`)?.[0], wanted, name);
    }
  });

  it('knows every field that a kubelet shows', () => {
    for (const name of Object.keys(configz.kubeletconfig)) {
      if (name !== 'kind' && name !== 'apiVersion') assert.ok(name in configurationShape, name);
    }
  });

  it("has a kubelet's defaults, but for what that kubelet was told", () => {
    const told = [
      'kind',
      'apiVersion',
      'staticPodPath',
      'tlsCertFile',
      'tlsPrivateKeyFile',
      'authentication',
      'clusterDomain',
      'clusterDNS',
      'maxPods',
      'failSwapOn',
      'localStorageCapacityIsolation',
    ];
    for (const [name, value] of Object.entries(configz.kubeletconfig)) {
      if (!told.includes(name)) assert.deepEqual(valueAt(defaults, name), value, name);
    }
  });
});
