// KubeSchedulerConfiguration: what is honoured, and what is refused in one line.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { createClusterCache } from '../../../control-plane-lite/scheduler/cache/cluster-cache.ts';
import { createProfile } from '../../../control-plane-lite/scheduler/profile/create-profile.ts';
import { loadSchedulerConfig } from '../../../control-plane-lite/scheduler/profile/load-scheduler-config.ts';
import { defaultSchedulerConfig } from '../../../control-plane-lite/scheduler/profile/scheduler-config.ts';

const dir = mkdtempSync(join(tmpdir(), 'scheduler-config-'));
after(() => rmSync(dir, { recursive: true, force: true }));

const header = 'apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n';
let files = 0;

function load(fields: object | string) {
  files += 1;
  const path = join(dir, `config-${files}.yaml`);
  writeFileSync(
    path,
    typeof fields === 'string' ? fields : `${header}${Object.keys(fields).length === 0 ? '' : body(fields)}`,
  );
  return loadSchedulerConfig(path);
}

/** JSON is YAML. */
const body = (fields: object) =>
  Object.entries(fields)
    .map(([key, value]) => `${key}: ${JSON.stringify(value)}\n`)
    .join('');

const profileOf = (profile: object) => {
  const [config] = load({ profiles: [profile] }).profiles;
  if (config === undefined) throw new Error('no profile');
  return config;
};
const pluginsOf = (plugins: object) => profileOf({ plugins });
const argsOf = (name: string, args: object) => profileOf({ pluginConfig: [{ name, args }] }).args;

describe('KubeSchedulerConfiguration', () => {
  it('is the default when it says nothing', () => {
    assert.deepEqual(load({}), defaultSchedulerConfig);
  });

  it('sets backoffs and the lease, and takes what has no meaning here', () => {
    const { times, election } = load({
      podInitialBackoffSeconds: 2,
      podMaxBackoffSeconds: 20,
      parallelism: 16,
      percentageOfNodesToScore: 50,
      clientConnection: { qps: 100, burst: 200 },
      enableProfiling: true,
      leaderElection: {
        leaderElect: true,
        leaseDuration: '30s',
        renewDeadline: '20s',
        retryPeriod: '5s',
        resourceName: 'mine',
      },
    });
    assert.deepEqual([times.initialBackoffMs, times.maxBackoffMs], [2000, 20_000]);
    assert.deepEqual([election.leaderElect, election.leaseDurationMs, election.name], [true, 30_000, 'mine']);
  });

  it('has several profiles, each with plugins and weights of its own', () => {
    const { profiles } = load({
      profiles: [
        { schedulerName: 'default-scheduler' },
        {
          schedulerName: 'no-scoring',
          plugins: { preScore: { disabled: [{ name: '*' }] }, score: { disabled: [{ name: '*' }] } },
        },
      ],
    });
    assert.deepEqual(
      profiles.map(({ schedulerName, scores }) => [schedulerName, scores.size]),
      [
        ['default-scheduler', 8],
        ['no-scoring', 0],
      ],
    );
  });

  it('switches plugins at one point or at all, and weighs them', () => {
    const one = pluginsOf({ score: { disabled: [{ name: '*' }], enabled: [{ name: 'ImageLocality', weight: 7 }] } });
    assert.deepEqual([...one.scores], [['ImageLocality', 7]]);
    assert.ok(one.filters.has('NodePorts'));
    const all = pluginsOf({
      multiPoint: { disabled: [{ name: 'TaintToleration' }], enabled: [{ name: 'NodeAffinity', weight: 9 }] },
    });
    assert.deepEqual([all.filters.has('TaintToleration'), all.scores.has('TaintToleration')], [false, false]);
    assert.equal(all.scores.get('NodeAffinity'), 9);
    const postFilter = pluginsOf({ postFilter: { disabled: [{ name: 'DefaultPreemption' }] } });
    assert.equal(createProfile(postFilter, createClusterCache()).preemption, undefined);
  });

  it('gives plugins their arguments', () => {
    assert.deepEqual(
      argsOf('NodeResourcesFit', {
        scoringStrategy: { type: 'MostAllocated', resources: [{ name: 'cpu', weight: 3 }] },
        ignoredResources: ['example.com/a'],
        ignoredResourceGroups: ['example.org'],
      }).fit,
      {
        strategy: 'MostAllocated',
        resources: [{ name: 'cpu', weight: 3 }],
        shape: [],
        ignoredResources: ['example.com/a'],
        ignoredGroups: ['example.org'],
      },
    );
    assert.deepEqual(argsOf('InterPodAffinity', { hardPodAffinityWeight: 50 }).interPod, {
      hardWeight: 50,
      ignoreExisting: false,
    });
    assert.equal(argsOf('VolumeBinding', { bindTimeoutSeconds: 30 }).volumeBinding.bindTimeoutMs, 30_000);
    const constraint = { maxSkew: 1, topologyKey: 'zone', whenUnsatisfiable: 'ScheduleAnyway' };
    const list = argsOf('PodTopologySpread', { defaultingType: 'List', defaultConstraints: [constraint] });
    assert.deepEqual(list.defaultConstraints, [constraint]);
    const kind = { apiVersion: 'kubescheduler.config.k8s.io/v1', kind: 'DefaultPreemptionArgs' };
    assert.deepEqual(argsOf('DefaultPreemption', { ...kind, minCandidateNodesAbsolute: 5 }).preemption, {
      minPercentage: 10,
      minAbsolute: 5,
    });
  });

  const wrong: [what: string, fields: object | string, expected: RegExp][] = [
    ['another kind', 'apiVersion: v1\nkind: Pod\n', /must be KubeSchedulerConfiguration of kubescheduler/],
    ['an unknown field', { podBackoff: 1 }, /unknown field podBackoff/],
    ['an unknown field of a profile', { profiles: [{ name: 'x' }] }, /unknown field profiles\[0\]\.name/],
    ['extenders', { extenders: [{ urlPrefix: 'http://x' }] }, /extenders are not supported/],
    ['a percentage', { percentageOfNodesToScore: 101 }, /from 0 to 100, not 101/],
    [
      'a backoff of nothing',
      { podInitialBackoffSeconds: 0 },
      /podInitialBackoffSeconds takes a whole number above zero/,
    ],
    ['backoffs the wrong way round', { podInitialBackoffSeconds: 20 }, /podMaxBackoffSeconds must be greater/],
    ['profiles without names', { profiles: [{}, {}] }, /schedulerName is needed/],
    ['a name twice', { profiles: [{ schedulerName: 'a' }, { schedulerName: 'a' }] }, /a is there twice/],
    ['a lease too short', { leaderElection: { leaseDuration: '5s' } }, /leaseDuration must be greater/],
    ['another lock', { leaderElection: { resourceLock: 'endpoints' } }, /resourceLock takes leases/],
    [
      'an unknown plugin',
      { profiles: [{ plugins: { score: { enabled: [{ name: 'Mine' }] } } }] },
      /unknown plugin "Mine"/,
    ],
    [
      'a plugin twice',
      { profiles: [{ plugins: { filter: { enabled: [{ name: 'NodeName' }, { name: 'NodeName' }] } } }] },
      /NodeName is named twice/,
    ],
    [
      'nobody who binds',
      { profiles: [{ plugins: { bind: { disabled: [{ name: '*' }] } } }] },
      /DefaultBinder cannot be/,
    ],
    [
      'an unknown argument',
      { profiles: [{ pluginConfig: [{ name: 'NodeResourcesFit', args: { strategy: 'x' } }] }] },
      /unknown field profiles\[0\]\.pluginConfig\[0\]\.args\.strategy/,
    ],
    [
      'an unknown strategy',
      { profiles: [{ pluginConfig: [{ name: 'NodeResourcesFit', args: { scoringStrategy: { type: 'Random' } } }] }] },
      /type takes LeastAllocated, MostAllocated, RequestedToCapacityRatio, not "Random"/,
    ],
    [
      'a shape out of order',
      {
        profiles: [
          {
            pluginConfig: [
              {
                name: 'NodeResourcesFit',
                args: {
                  scoringStrategy: {
                    type: 'RequestedToCapacityRatio',
                    requestedToCapacityRatio: {
                      shape: [
                        { utilization: 50, score: 1 },
                        { utilization: 10, score: 2 },
                      ],
                    },
                  },
                },
              },
            ],
          },
        ],
      },
      /sorted in increasing order/,
    ],
    [
      'constraints beside the defaults of the system',
      { profiles: [{ pluginConfig: [{ name: 'PodTopologySpread', args: { defaultConstraints: [{ maxSkew: 1 }] } }] }] },
      /needs defaultingType List/,
    ],
  ];
  for (const [what, fields, expected] of wrong) {
    it(`refuses ${what} in one line`, () => {
      assert.throws(
        () => load(fields),
        (error: Error) => {
          assert.equal(error.name, 'UsageError');
          assert.match(error.message, expected);
          assert.doesNotMatch(error.message, /\n/);
          return true;
        },
      );
    });
  }
});
