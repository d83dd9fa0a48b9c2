import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import * as resources from '#kube/api/generated/resources.ts';
import type { KubeObject, Resource } from '#kube/api/resource.ts';
import { applyDefaults } from '../../../control-plane-lite/registry/defaulting/apply-defaults.ts';
import { defaultPullPolicy } from '../../../control-plane-lite/registry/defaulting/pull-policy.ts';

interface Recording {
  name: string;
  path: string;
  sent: KubeObject;
  answer: KubeObject;
}

const recordings = JSON.parse(
  readFileSync(join(import.meta.dirname, '../../data/api/defaults.json'), 'utf8'),
) as Recording[];

function resourceOf(path: string): Resource {
  const parts = path.split('/').filter((part) => part !== '');
  const [group, version] = parts[0] === 'api' ? ['', parts[1]] : [parts[1], parts[2]];
  const found = (Object.values(resources) as Resource[]).find(
    (r) => r.plural === parts.at(-1) && r.group === group && r.version === version,
  );
  assert.ok(found, path);
  return found;
}

/** Paths at which `actual` says something else than `expected`, which may say more. */
function contradictions(actual: unknown, expected: unknown, path = ''): string[] {
  if (typeof expected === 'string' && expected.startsWith('<')) return [];
  if (Array.isArray(actual) && Array.isArray(expected)) {
    return actual.flatMap((item, i) => contradictions(item, expected[i], `${path}[${i}]`));
  }
  if (typeof actual === 'object' && actual !== null && typeof expected === 'object' && expected !== null) {
    return Object.entries(actual).flatMap(([key, value]) =>
      value === undefined ? [] : contradictions(value, (expected as Record<string, unknown>)[key], `${path}.${key}`),
    );
  }
  return actual === expected ? [] : [`${path}: ${JSON.stringify(actual)} instead of ${JSON.stringify(expected)}`];
}

describe('applyDefaults', () => {
  for (const recording of recordings) {
    it(`defaults ${recording.name} as the recorded API server did`, () => {
      const object = structuredClone(recording.sent);
      object.metadata.namespace = recording.answer.metadata.namespace;
      applyDefaults(resourceOf(recording.path), object);
      assert.deepEqual(contradictions(object, recording.answer), []);
      const again = structuredClone(object);
      applyDefaults(resourceOf(recording.path), again);
      assert.deepEqual(again, object, 'defaulting twice changes nothing');
    });
  }
});

describe('defaultPullPolicy', () => {
  const cases: [string, string][] = [
    ['busybox', 'Always'],
    ['busybox:latest', 'Always'],
    ['busybox:1', 'IfNotPresent'],
    ['localhost:5000/busybox', 'Always'],
    ['localhost:5000/busybox:1', 'IfNotPresent'],
    ['busybox@sha256:0000', 'IfNotPresent'],
  ];
  for (const [image, policy] of cases) {
    it(`is ${policy} for ${image}`, () => assert.equal(defaultPullPolicy(image), policy));
  }
});
