// Every flag of kubelet once for real: taken with a value of its type, put into its field, and refused in one line with
// a value of another type.
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import flags from '../../../../agent/config/data/flags.json' with { type: 'json' };
import { fieldOfFlag, whyIgnored } from '../../../../agent/config/flag-table.ts';
import { loadConfiguration } from '../../../../agent/config/load-configuration.ts';
import { resolveSettings } from '../../../../agent/config/settings.ts';

const directory = mkdtempSync(join(tmpdir(), 'agent-flags-'));
after(() => rmSync(directory, { recursive: true, force: true }));
const config = join(directory, 'config.yaml');
writeFileSync(config, 'apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n');
const dropIns = join(directory, 'conf.d');
mkdirSync(dropIns);

function load(...argv: string[]) {
  const loaded = loadConfiguration(argv, 'v1.36.2');
  return 'print' in loaded ? loaded : { ...loaded, settings: resolveSettings(loaded) };
}

/** A value of each type, as it is written and as its field has it. */
const byType: Record<string, [text: string, field: unknown]> = {
  bool: ['true', true],
  RuntimeDefault: ['true', true],
  int: ['7', 7],
  int32: ['7', 7],
  Level: ['2', 2],
  duration: ['9s', '9000ms'],
  ip: ['127.0.0.2', '127.0.0.2'],
  quantity: ['10Mi', '10Mi'],
  string: ['x', 'x'],
  strings: ['x,y', ['x', 'y']],
  mapStringString: ['a=b', { a: 'b' }],
  mapStringBool: ['MemoryQoS=true', { MemoryQoS: true }],
  colonSeparatedMultimapStringString: ['a:b', { a: ['b'] }],
  '[]v1.Taint': ['a=b:NoSchedule', [{ key: 'a', value: 'b', effect: 'NoSchedule' }]],
  'reserved-memory': ['0:memory=1Gi', [{ numaNode: 0, limits: { memory: '1Gi' } }]],
  'pattern=N,...': ['a=1', 'a=1'],
};

/** Flags whose value has to be one of a few, or of a form of its own. */
const special: Record<string, [text: string, field: unknown, ...others: string[]]> = {
  'authorization-mode': ['AlwaysAllow', 'AlwaysAllow'],
  'cgroup-driver': ['systemd', 'systemd'],
  'cgroups-per-qos': ['false', false, '--enforce-node-allocatable='],
  config: [config, undefined],
  'config-dir': [dropIns, undefined],
  'container-log-max-size': ['3Mi', '3Mi'],
  'cpu-cfs-quota-period': ['50ms', '50ms', '--feature-gates=CustomCPUCFSQuotaPeriod=true'],
  'cpu-manager-policy': ['static', 'static'],
  'enforce-node-allocatable': ['none', ['none']],
  'eviction-hard': ['memory.available<1Gi', { 'memory.available': '1Gi' }],
  'eviction-minimum-reclaim': ['memory.available=1Mi', { 'memory.available': '1Mi' }],
  'eviction-soft': [
    'memory.available<2Gi',
    { 'memory.available': '2Gi' },
    '--eviction-soft-grace-period=memory.available=1m',
  ],
  'eviction-soft-grace-period': [
    'memory.available=1m',
    { 'memory.available': '1m' },
    '--eviction-soft=memory.available<2Gi',
  ],
  'hairpin-mode': ['none', 'none'],
  'image-credential-provider-bin-dir': ['/x', undefined, '--image-credential-provider-config=/y'],
  'image-credential-provider-config': ['/y', undefined, '--image-credential-provider-bin-dir=/x'],
  'image-gc-high-threshold': ['90', 90],
  'image-gc-low-threshold': ['70', 70],
  'kube-reserved': ['cpu=1', { cpu: '1' }],
  'logging-format': ['json', 'json'],
  'memory-manager-policy': ['Static', 'Static'],
  'node-ip': ['192.0.2.1', undefined],
  'qos-reserved': ['memory=50%', { memory: '50%' }],
  'reserved-cpus': ['0-1', '0-1'],
  'show-hidden-metrics-for-version': ['1.35', '1.35'],
  'system-cgroups': ['/x', '/x', '--cgroup-root=/y'],
  'system-reserved': ['memory=1Gi', { memory: '1Gi' }],
  'tls-cipher-suites': ['TLS_AES_128_GCM_SHA256', ['TLS_AES_128_GCM_SHA256']],
  'tls-min-version': ['VersionTLS13', 'VersionTLS13'],
  'topology-manager-policy': ['restricted', 'restricted'],
  'topology-manager-scope': ['pod', 'pod'],
};

function valueAt(fields: unknown, path: string): unknown {
  return path.split('.').reduce<unknown>((value, name) => (value as Record<string, unknown>)?.[name], fields);
}

describe('flags', () => {
  for (const { name, type, deprecated } of flags) {
    if (name === 'help' || name === 'version' || name === 'runonce') continue;
    const [text = '', expected, ...others] = special[name] ?? byType[type] ?? [];
    it(`--${name}=${text} is taken`, () => {
      assert.notEqual(text, '', `no value for type ${type}`);
      // A switch takes its value only with an equals sign, and needs none.
      const apart = text === 'true' ? [[`--${name}`]] : text === 'false' ? [] : [[`--${name}`, text]];
      for (const argv of [[`--${name}=${text}`], ...apart]) {
        const loaded = load(...argv, ...others);
        assert.ok(!('print' in loaded));
        const field = fieldOfFlag[name];
        if (field !== undefined) assert.deepEqual(valueAt(loaded.configuration, field), expected);
        assert.ok(name in loaded.settings.flags, 'shown by /flagz');
        const said = loaded.warnings.filter((line) => line.startsWith(`Flag --${name} has been deprecated, `));
        assert.equal(said.length, deprecated === true ? 1 : 0);
        const ignored = whyIgnored(name);
        if (ignored !== undefined) assert.ok(loaded.warnings.includes(ignored));
      }
    });
  }

  const wrong: Record<string, string> = { bool: 'maybe', int: 'x', int32: '1.5', Level: 'x', duration: 'soon' };
  for (const { name, type } of flags) {
    const text = wrong[type];
    if (text === undefined || name === 'help') continue;
    it(`--${name}=${text} is refused in one line`, () => {
      assert.throws(
        () => load(`--${name}=${text}`),
        (error: Error) => error.name === 'UsageError' && !error.message.includes('\n') && error.message.includes(text),
      );
    });
  }

  const bad: [string[], RegExp][] = [
    [['--no-such-flag'], /^unknown flag --no-such-flag for agent/],
    [['--max-podss=3'], /^unknown flag --max-podss for agent; did you mean --max-pods\?/],
    [['-z'], /^unknown flag --z for agent/],
    [['pods'], /^agent takes no argument "pods"$/],
    [['--max-pods'], /^--max-pods needs a value$/],
    [['--feature-gates=MemoryQoS=maybe'], /invalid value of MemoryQoS=maybe, err: strconv\.ParseBool/],
    [['--feature-gates=MemoryQoS'], /^--feature-gates takes key=value pairs, not "MemoryQoS"$/],
    [['--reserved-memory=0:memory'], /^--reserved-memory takes node:type=amount/],
    [['--register-with-taints=a'], /^--register-with-taints takes key=value:Effect/],
    [['--runonce=true'], /Runonce mode has been deprecated/],
    [['--image-credential-provider-config=/x'], /go together$/],
    [['--config=/no/such/file'], /^cannot read configuration \/no\/such\/file: /],
  ];
  for (const [argv, message] of bad) {
    it(`${argv.join(' ')} is refused in one line`, () => {
      assert.throws(
        () => load(...argv),
        (error: Error) => error.name === 'UsageError' && !error.message.includes('\n') && message.test(error.message),
      );
    });
  }

  it('hide what is secret where they are shown', () => {
    const loaded = load('--storage-driver-password=secret', '--manifest-url-header=Authorization:secret');
    assert.ok(!('print' in loaded));
    assert.ok(!JSON.stringify(loaded.settings.flags).includes('secret'));
  });

  it('print help and the version instead of anything else', () => {
    const help = load('--help');
    assert.ok('print' in help && help.print.startsWith('usage: berth agent [flags]'));
    const version = load('--version');
    assert.deepEqual(version, { print: 'Kubernetes v1.36.2\n' });
  });
});
