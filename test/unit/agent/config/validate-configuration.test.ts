import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { loadConfiguration } from '../../../../agent/config/load-configuration.ts';
import { resolveSettings } from '../../../../agent/config/settings.ts';

const directory = mkdtempSync(join(tmpdir(), 'agent-config-'));
after(() => rmSync(directory, { recursive: true, force: true }));
let files = 0;

function fileOf(text: string, path = join(directory, `${files++}.yaml`)): string {
  writeFileSync(path, `apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n${text}\n`);
  return path;
}

function load(...argv: string[]) {
  const loaded = loadConfiguration(argv, 'v1.36.2');
  if ('print' in loaded) throw new Error(loaded.print);
  return { ...loaded, settings: resolveSettings(loaded) };
}

const bad: [fields: string, message: string][] = [
  ['nodeLeaseDurationSeconds: -1', 'nodeLeaseDurationSeconds must be greater than 0'],
  ['eventBurst: -1', 'eventBurst (--event-burst) -1 must not be a negative number'],
  ['healthzPort: 65536', 'healthzPort (--healthz-port) 65536 must be between 1 and 65535, inclusive'],
  ['readOnlyPort: -2', 'readOnlyPort (--read-only-port) -2 must be between 0 and 65535, inclusive'],
  ['port: 65536', 'port (--port) 65536 must be between 1 and 65535, inclusive'],
  ['maxPods: -5', 'maxPods (--max-pods) -5 must not be a negative number'],
  [
    'cpuCFSQuotaPeriod: 50ms',
    'cpuCFSQuotaPeriod (--cpu-cfs-quota-period) 50ms requires feature gate CustomCPUCFSQuotaPeriod',
  ],
  [
    'cpuCFSQuotaPeriod: 2s\nfeatureGates: {CustomCPUCFSQuotaPeriod: true}',
    'cpuCFSQuotaPeriod (--cpu-cfs-quota-period) 2s must be between 1ms and 1sec, inclusive',
  ],
  [
    'imageGCLowThresholdPercent: 90',
    'imageGCLowThresholdPercent (--image-gc-low-threshold) 90 must be less than imageGCHighThresholdPercent (--image-gc-high-threshold) 85',
  ],
  ['imageMaximumGCAge: 1m', 'imageMaximumGCAge 1m must be greater than imageMinimumGCAge 2m0s'],
  ['oomScoreAdj: -1001', 'oomScoreAdj (--oom-score-adj) -1001 must be between -1000 and 1000, inclusive'],
  ['maxParallelImagePulls: 0', 'maxParallelImagePulls 0 must be a positive number'],
  [
    'maxParallelImagePulls: 2\nserializeImagePulls: true',
    'maxParallelImagePulls cannot be larger than 1 unless SerializeImagePulls (--serialize-image-pulls) is set to false',
  ],
  ['runOnce: true', 'runOnce (--runOnce) true, Runonce mode has been deprecated and should not be set'],
  [
    'topologyManagerPolicy: best',
    'topologyManagerPolicy (--topology-manager-policy) "best" must be one of: ["none" "best-effort" "restricted" "single-numa-node"]',
  ],
  [
    'topologyManagerScope: node',
    'topologyManagerScope (--topology-manager-scope) "node" must be one of: "container", or "pod"',
  ],
  [
    'shutdownGracePeriod: 10s\nshutdownGracePeriodCriticalPods: 20s',
    'shutdownGracePeriodCriticalPods 20s must be <= shutdownGracePeriod 10s',
  ],
  ['shutdownGracePeriod: 100ms', 'shutdownGracePeriod 100ms must be either zero or otherwise >= 1 sec'],
  [
    'shutdownGracePeriod: 10s\nshutdownGracePeriodByPodPriority: [{priority: 0, shutdownGracePeriodSeconds: 5}]',
    'Cannot specify both shutdownGracePeriodByPodPriority and shutdownGracePeriod at the same time',
  ],
  [
    'memorySwap: {swapBehavior: Unlimited}',
    'memorySwap.swapBehavior "Unlimited" must be one of: "", "LimitedSwap" or "NoSwap"',
  ],
  [
    'enforceNodeAllocatable: [pods, pods]',
    'duplicated enforcements "pods" in enforceNodeAllocatable (--enforce-node-allocatable)',
  ],
  [
    'enforceNodeAllocatable: [system-reserved]',
    'systemReservedCgroup (--system-reserved-cgroup) must be specified when "system-reserved" or "system-reserved-compressible" included in enforceNodeAllocatable (--enforce-node-allocatable)',
  ],
  [
    'enforceNodeAllocatable: [none, pods]',
    'enforceNodeAllocatable (--enforce-node-allocatable) may not contain additional enforcements when "none" is specified',
  ],
  [
    'cgroupsPerQOS: false',
    'cgroupsPerQOS (--cgroups-per-qos) must be set to true when "pods" contained in enforceNodeAllocatable (--enforce-node-allocatable)',
  ],
  [
    'enforceNodeAllocatable: [nodes]',
    'option "nodes" specified for enforceNodeAllocatable (--enforce-node-allocatable). Valid options are "pods", "system-reserved", "system-reserved-compressible", "kube-reserved", "kube-reserved-compressible" or "none"',
  ],
  [
    'hairpinMode: loop',
    'option "loop" specified for hairpinMode (--hairpin-mode). Valid options are "none", "hairpin-veth" or "promiscuous-bridge"',
  ],
  [
    'reservedSystemCPUs: "0-"',
    'unable to parse reservedSystemCPUs (--reserved-cpus) 0-, error: strconv.Atoi: parsing "": invalid syntax',
  ],
  [
    'reservedSystemCPUs: "3-1"',
    'unable to parse reservedSystemCPUs (--reserved-cpus) 3-1, error: invalid range "3-1" (3 > 1)',
  ],
  [
    'reservedMemory: [{numaNode: 0, limits: {cpu: 1Gi}}]',
    'the limit type "cpu" for NUMA node 0 is not supported, only [memory hugepages-<HugePageSize>] is accepted',
  ],
  [
    'reservedMemory: [{numaNode: 1, limits: {memory: "0"}}]',
    'reserved memory may not be zero for NUMA node 1 and resource "memory"',
  ],
  [
    'reservedMemory: [{numaNode: 0, limits: {memory: 1Gi}}, {numaNode: 0, limits: {memory: 2Gi}}]',
    'the reserved memory has a duplicate value for NUMA node 0 and resource "memory"',
  ],
  [
    'showHiddenMetricsForVersion: "1.34"',
    "--show-hidden-metrics-for-version must be omitted or have the value '1.35'. Only the previous minor version is allowed",
  ],
  ['userNamespaces: {idsPerPod: 1000}', 'userNamespaces.idsPerPod: Invalid value: 1000: must be a multiple of 65536'],
  [
    'serverTLSBootstrap: true\nfeatureGates: {RotateKubeletServerCertificate: false}',
    'serverTLSBootstrap true requires feature gate RotateKubeletServerCertificate',
  ],
  [
    'shutdownGracePeriod: 10s\nfeatureGates: {GracefulNodeShutdown: false}',
    'specifying shutdownGracePeriod or shutdownGracePeriodCriticalPods requires feature gate GracefulNodeShutdown',
  ],
  [
    'imagePullCredentialsVerificationPolicy: NeverVerifyAllowlistedImages\npreloadedImagesVerificationAllowlist: ["a*b"]',
    'invalid image pattern in `preloadedImagesVerificationAllowlist`: preloadedImagesVerificationAllowlist: "a*b" may have a star only at its end, after a slash',
  ],
  [
    'reservedSystemCPUs: "0"\nkubeReservedCgroup: /x',
    "can't use reservedSystemCPUs (--reserved-cpus) with systemReservedCgroup (--system-reserved-cgroup) or kubeReservedCgroup (--kube-reserved-cgroup)",
  ],
  ['memoryThrottlingFactor: 1.5', 'memoryThrottlingFactor 1.5 must be greater than 0 and less than or equal to 1.0'],
  [
    'enableSystemLogQuery: true\nenableSystemLogHandler: false',
    'enableSystemLogHandler is required for enableSystemLogQuery',
  ],
  ['containerLogMaxWorkers: 0', 'containerLogMaxWorkers must be greater than or equal to 1'],
  [
    'containerLogMonitorInterval: 1s',
    'containerLogMonitorInterval must be a positive time duration greater than or equal to 3s',
  ],
  ['containerLogMaxFiles: 1', 'containerLogMaxFiles must be greater than 1'],
  ['podLogsDir: logs', 'pod logs path "logs" must be absolute path'],
  ['podLogsDir: /var/../logs', 'pod logs path "/var/../logs" must be normalized'],
  ['podLogsDir: /vär', 'pod logs path "/vär" mut contains ASCII characters only'],
];

describe('validation of the configuration', () => {
  for (const [fields, message] of bad) {
    it(`refuses ${fields.replaceAll('\n', ', ')}`, () => {
      assert.throws(() => load(`--config=${fileOf(fields)}`), { message: `invalid configuration: ${message}` });
    });
  }

  const nested: [fields: string, message: string][] = [
    ['logging: {format: xml}', 'logging.format: Invalid value: "xml": Unsupported log format'],
    ['logging: {verbosity: -1}', 'logging.verbosity: Invalid value: -1: Must be <= 2147483647'],
    ['logging: {flushFrequency: soon}', 'logging.flushFrequency: Invalid value: "soon": is no duration'],
    [
      'logging: {format: json, vmodule: [{filePattern: a, verbosity: 1}]}',
      'logging.vmodule: Forbidden: Only supported for text log format',
    ],
    [
      'logging: {vmodule: [{filePattern: "a=b", verbosity: 1}]}',
      'logging.vmodule[0]: Invalid value: "a=b": File pattern must not contain equal sign or comma',
    ],
    [
      'tracing: {samplingRatePerMillion: -1}',
      'tracing.samplingRatePerMillion: Invalid value: -1: sampling rate must be positive',
    ],
    [
      'tracing: {samplingRatePerMillion: 1000001}',
      'tracing.samplingRatePerMillion: Invalid value: 1000001: sampling rate per million must be less than or equal to one million',
    ],
    [
      'tracing: {endpoint: "https://x:4317"}',
      'tracing.endpoint: Invalid value: "https://x:4317": unsupported scheme: https.  Options are none, dns, unix, or unix-abstract',
    ],
  ];
  for (const [fields, message] of nested) {
    it(`refuses ${fields}`, () => {
      assert.throws(() => load(`--config=${fileOf(fields)}`), { message });
    });
  }

  const unknown: [fields: string, message: RegExp][] = [
    ['loging: {}', /: unknown field loging; allowed here: /],
    ['logging: {colour: red}', /: unknown field logging\.colour; allowed here: /],
    ['logging: {options: {text: {x: 1}}}', /: unknown field logging\.options\.text\.x; /],
    ['tracing: {rate: 1}', /: unknown field tracing\.rate; /],
    ['reservedMemory: [{node: 0}]', /: unknown field reservedMemory\[0\]\.node; /],
    ['registerWithTaints: [{name: a}]', /: unknown field registerWithTaints\[0\]\.name; /],
    [
      'shutdownGracePeriodByPodPriority: [{grace: 1}]',
      /: unknown field shutdownGracePeriodByPodPriority\[0\]\.grace; /,
    ],
    ['userNamespaces: {ids: 1}', /: unknown field userNamespaces\.ids; /],
    ['featureGates: {MemoryQoS: "yes"}', /: featureGates takes a map of booleans, not /],
    ['reservedMemory: {}', /: reservedMemory takes a list, not /],
    ['maxPods: many', /: maxPods takes a number, not "many"$/],
    ['syncFrequency: 1 minute', /"1 minute" is not a duration/],
  ];
  for (const [fields, message] of unknown) {
    it(`names in one line what is wrong with ${fields}`, () => {
      assert.throws(
        () => load(`--config=${fileOf(fields)}`),
        (error: Error) => error.name === 'UsageError' && message.test(error.message) && !error.message.includes('\n'),
      );
    });
  }

  it('says every mistake in one line', () => {
    const config = fileOf('maxPods: -1\ncontainerLogMaxFiles: 1');
    assert.throws(() => load(`--config=${config}`), {
      message:
        '[invalid configuration: maxPods (--max-pods) -1 must not be a negative number, invalid configuration: containerLogMaxFiles must be greater than 1]',
    });
  });

  it("refuses labels of the project that are not the node's own, and taints that are none", () => {
    assert.throws(() => load('--node-labels=node-role.kubernetes.io/worker=,a.k8s.io/x=1'), {
      message:
        /^unknown 'kubernetes.io' or 'k8s.io' labels specified with --node-labels: \[a.k8s.io\/x node-role.kubernetes.io\/worker\]; /,
    });
    assert.deepEqual(load('--node-labels=role=worker,x.node.kubernetes.io/y=z').settings.nodeLabels, {
      role: 'worker',
      'x.node.kubernetes.io/y': 'z',
    });
    assert.throws(() => load('--node-labels=-=x'), { message: 'invalid label key "-" in --node-labels' });
    assert.throws(() => load('--register-with-taints=a=b:Never'), { message: /takes key=value:Effect/ });
    const config = fileOf('registerWithTaints: [{key: a, effect: Sometimes}]');
    assert.throws(() => load(`--config=${config}`), { message: 'invalid taint: a=:Sometimes' });
  });

  it('translates suites and curves, and names those that it does not know', () => {
    const suites = '--tls-cipher-suites=TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256';
    const { server } = load(suites, '--tls-min-version=VersionTLS12').settings;
    assert.match(server.ciphers ?? '', /:ECDHE-RSA-AES128-GCM-SHA256$/);
    assert.equal(server.tlsMinVersion, 'TLSv1.2');
    assert.throws(() => load('--tls-cipher-suites=TLS_X'), /TLS_X not supported/);
    assert.throws(() => load('--tls-min-version=SSL3'), /SSL3: VersionTLS10, /);
    const config = fileOf('tlsCurvePreferences: [X25519, CurveP256]');
    assert.equal(load(`--config=${config}`).settings.server.curves, 'X25519:P-256');
  });
});

describe('the layers of the configuration', () => {
  const dropIns = join(directory, 'conf.d');
  mkdirSync(join(dropIns, '20-more.conf'), { recursive: true });

  it('reads drop-ins in the order of their names, maps key by key and lists as a whole', () => {
    fileOf('maxPods: 20\nclusterDNS: [10.0.0.11]\nevictionHard: {nodefs.available: 5%}', join(dropIns, '10-a.conf'));
    fileOf('maxPods: 30', join(dropIns, '20-more.conf', 'a.conf'));
    fileOf('maxPods: 40', join(dropIns, '30-ignored.yaml'));
    const config = fileOf('maxPods: 10\nclusterDNS: [10.0.0.10]\nevictionHard: {memory.available: 1Gi}');
    const { settings } = load(`--config=${config}`, `--config-dir=${dropIns}`);
    assert.equal(settings.maxPods, 30);
    assert.deepEqual(settings.clusterDns, ['10.0.0.11']);
    assert.deepEqual(settings.evictionHard, { 'memory.available': '1Gi', 'nodefs.available': '5%' });
  });

  it('adds the default thresholds where they shall be merged', () => {
    const text = 'mergeDefaultEvictionSettings: true\nevictionHard: {memory.available: 1Gi}';
    const { evictionHard } = load(`--config=${fileOf(text)}`).settings;
    assert.equal(evictionHard['memory.available'], '1Gi');
    assert.equal(evictionHard['nodefs.available'], '10%');
  });

  it('adds features of the command line to those of the file', () => {
    const config = fileOf('featureGates: {MemoryQoS: true}');
    const { configuration } = load(`--config=${config}`, '--feature-gates=CustomCPUCFSQuotaPeriod=true');
    assert.deepEqual(Object.keys(configuration['featureGates'] ?? {}), ['MemoryQoS', 'CustomCPUCFSQuotaPeriod']);
  });

  it('takes thresholds as the command line writes them', () => {
    assert.deepEqual(load('--eviction-hard', 'memory.available<1Gi,nodefs.available<5%').settings.evictionHard, {
      'memory.available': '1Gi',
      'nodefs.available': '5%',
    });
  });

  it('counts processors set apart as reserved, and pods by processors', () => {
    const text = 'reservedSystemCPUs: "0-1,3"\nkubeReserved: {cpu: 500m, memory: 1Gi}\npodsPerCore: 1';
    const { reserved, maxPods } = load(`--config=${fileOf(text)}`).settings;
    assert.deepEqual(reserved, [{ cpu: '3' }, { memory: '1Gi' }]);
    assert.ok(maxPods < 110);
  });

  it('warns of fields and features that have no effect, and only where they ask for something', () => {
    const text = 'volumePluginDir: /x\nhairpinMode: promiscuous-bridge\nfeatureGates: {AllAlpha: true}';
    assert.deepEqual(load(`--config=${fileOf(text)}`).warnings, [
      'field volumePluginDir is accepted and not honoured: there are no FlexVolume plugins',
      'feature gate AllAlpha is accepted and has no effect',
    ]);
  });

  it('refuses a drop-in with an unknown field, and a folder that is not there', () => {
    const other = join(directory, 'bad.d');
    mkdirSync(other);
    fileOf('maxpods: 1', join(other, 'a.conf'));
    assert.throws(() => load(`--config-dir=${other}`), /a\.conf: unknown field maxpods/);
    assert.throws(() => load(`--config-dir=${join(directory, 'none')}`), /cannot read --config-dir/);
  });
});
