import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { ContainerStatus, Pod } from '#kube/api/generated/core-v1.ts';
import * as resources from '#kube/api/generated/resources.ts';
import { apiVersionOf, type KubeObject, type Resource } from '#kube/api/resource.ts';
import { humanDuration } from '../../../control-plane-lite/registry/tables/cell-format.ts';
import { podCells } from '../../../control-plane-lite/registry/tables/pod-cells.ts';
import { printerFor } from '../../../control-plane-lite/registry/tables/printer-for.ts';

const recordings = JSON.parse(readFileSync(join(import.meta.dirname, '../../data/api/defaults.json'), 'utf8')) as {
  name: string;
  answer: KubeObject;
}[];

const now = Date.parse('2026-01-02T00:00:00Z');

function pod(status: Pod['status'], extra: Partial<Pod['spec']> = {}, metadata: Partial<Pod['metadata']> = {}): Pod {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'p', creationTimestamp: '2026-01-01T23:59:00Z', ...metadata },
    spec: { containers: [{ name: 'c' }], ...extra },
    status,
  };
}

function container(state: ContainerStatus['state'], extra: Partial<ContainerStatus> = {}): ContainerStatus {
  return { name: 'c', image: 'i', imageID: '', ready: false, restartCount: 0, state, ...extra };
}

describe('printerFor', () => {
  for (const { name, answer } of recordings) {
    it(`prints as many cells as columns for ${name}`, () => {
      const resource = (Object.values(resources) as Resource[]).find(
        (r) => r.kind === answer.kind && apiVersionOf(r) === answer.apiVersion,
      );
      assert.ok(resource);
      const printer = printerFor(resource);
      const cells = printer.cells(answer, now);
      assert.equal(cells.length, printer.columns.length);
      assert.equal(cells.includes(undefined), false);
      for (const [i, column] of printer.columns.entries()) {
        if (column.type === 'integer') assert.equal(typeof cells[i], 'number', column.name);
      }
    });
  }
});

describe('podCells', () => {
  const cases: [string, Pod, string, string, string][] = [
    [
      'a running pod',
      pod({ phase: 'Running', containerStatuses: [container({ running: {} }, { ready: true })] }),
      '1/1',
      'Running',
      '0',
    ],
    [
      'a crashing container',
      pod({
        phase: 'Running',
        containerStatuses: [
          container(
            { waiting: { reason: 'CrashLoopBackOff' } },
            { restartCount: 3, lastState: { terminated: { exitCode: 1, finishedAt: '2026-01-01T23:59:50Z' } } },
          ),
        ],
      }),
      '0/1',
      'CrashLoopBackOff',
      '3 (10s ago)',
    ],
    [
      'a completed pod',
      pod({ phase: 'Succeeded', containerStatuses: [container({ terminated: { exitCode: 0, reason: 'Completed' } })] }),
      '0/1',
      'Completed',
      '0',
    ],
    [
      'a container killed by a signal without a reason',
      pod({ phase: 'Failed', containerStatuses: [container({ terminated: { exitCode: 137, signal: 9 } })] }),
      '0/1',
      'Signal:9',
      '0',
    ],
    [
      'the second of two init containers running',
      pod(
        {
          phase: 'Pending',
          initContainerStatuses: [
            container({ terminated: { exitCode: 0 } }, { name: 'a' }),
            container({ running: {} }, { name: 'b' }),
          ],
          containerStatuses: [container({ waiting: { reason: 'PodInitializing' } })],
        },
        { initContainers: [{ name: 'a' }, { name: 'b' }] },
      ),
      '0/1',
      'Init:1/2',
      '0',
    ],
    [
      'a started sidecar beside a ready container',
      pod(
        {
          phase: 'Running',
          initContainerStatuses: [container({ running: {} }, { name: 's', started: true, ready: true })],
          containerStatuses: [container({ running: {} }, { ready: true })],
        },
        { initContainers: [{ name: 's', restartPolicy: 'Always' }] },
      ),
      '2/2',
      'Running',
      '0',
    ],
    [
      'a deleted pod',
      pod({ phase: 'Running' }, {}, { deletionTimestamp: '2026-01-01T23:59:59Z' }),
      '0/1',
      'Terminating',
      '0',
    ],
    [
      'a gated pod',
      pod({ phase: 'Pending', conditions: [{ type: 'PodScheduled', status: 'False', reason: 'SchedulingGated' }] }),
      '0/1',
      'SchedulingGated',
      '0',
    ],
    ['an evicted pod', pod({ phase: 'Failed', reason: 'Evicted' }), '0/1', 'Evicted', '0'],
  ];
  for (const [title, object, ready, word, restarts] of cases) {
    it(`shows ${title} as ${word}`, () => {
      assert.deepEqual(podCells(object, now).slice(0, 5), ['p', ready, word, restarts, '60s']);
    });
  }
});

describe('humanDuration', () => {
  const cases: [number, string][] = [
    [-5, '<invalid>'],
    [0, '0s'],
    [119, '119s'],
    [120, '2m'],
    [9 * 60 + 59, '9m59s'],
    [179 * 60, '179m'],
    [3 * 3600, '3h'],
    [7 * 3600 + 1800, '7h30m'],
    [47 * 3600, '47h'],
    [3 * 86400 + 3600, '3d1h'],
    [100 * 86400, '100d'],
    [3 * 365 * 86400, '3y'],
  ];
  for (const [seconds, text] of cases) {
    it(`prints ${seconds} s as ${text}`, () => assert.equal(humanDuration(seconds * 1000), text));
  }
});
