import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { ConfigMap, Secret, Service } from '#kube/api/generated/core-v1.ts';
import { containerConfig } from '../../../agent/container/container-config.ts';
import { containerHash } from '../../../agent/container/container-hash.ts';
import { milliCpuToQuota, milliCpuToShares, oomScoreAdj } from '../../../agent/container/container-resources.ts';
import { computeDnsConfig, parseResolvConf } from '../../../agent/container/dns-config.ts';
import { fieldValue, resourceValue } from '../../../agent/container/downward-value.ts';
import { buildEnvironment } from '../../../agent/container/environment.ts';
import { expandStrictly, expandVariables } from '../../../agent/container/expand-variables.ts';
import { sandboxHostname } from '../../../agent/container/hostname.ts';
import { hostsFile } from '../../../agent/container/hosts-file.ts';
import { containerAnnotations, parseContainerFacts } from '../../../agent/container/labels.ts';
import { parseLogLine } from '../../../agent/container/log-line.ts';
import { containerSecurityContext, type ImageUser } from '../../../agent/container/security-context.ts';
import { serviceEnvironment } from '../../../agent/container/service-environment.ts';
import { type ContainerExtras, noExtras } from '../../../agent/resource-manager/hint-provider.ts';
import { container, podOf } from './fixtures.ts';

const downward = {
  hostIps: ['192.0.2.2'],
  podIps: ['10.1.0.5', 'fd00::5'],
  nodeAllocatable: { cpu: '2', memory: '4Gi' },
};

describe('expandVariables', () => {
  const known = (name: string) => (name === 'A' ? '1' : undefined);
  for (const [text, expected] of [
    ['$(A)', '1'],
    ['$$(A)', '$(A)'],
    ['$$$(A)', '$1'],
    ['$(B)', '$(B)'],
    ['$A $', '$A $'],
    ['$(A', '$(A'],
  ] as const) {
    it(`makes ${expected} of ${text}`, () => assert.equal(expandVariables(text, known), expected));
  }

  it('refuses an unknown reference where it must not stay', () => {
    assert.throws(() => expandStrictly('$(B)', known), /missing value for "B"/);
  });
});

describe('buildEnvironment', () => {
  const sources = {
    configMap: async (_: string, name: string) =>
      name === 'cm' ? ({ data: { k: 'v' } } as unknown as ConfigMap) : undefined,
    secret: async (_: string, name: string) =>
      name === 'sec' ? ({ data: { p: Buffer.from('word').toString('base64') } } as unknown as Secret) : undefined,
  };
  const build = (env: Parameters<typeof container>[1]) => {
    const item = container('c', env);
    return buildEnvironment(podOf({ containers: [item] }), item, new Map([['SVC_PORT', '80']]), sources, downward);
  };

  it('lets later variables see earlier ones and services, and override services', async () => {
    const env = [
      { name: 'A', value: '1' },
      { name: 'B', value: '$(A):$(SVC_PORT)' },
      { name: 'SVC_PORT', value: 'own' },
    ];
    assert.deepEqual(Object.fromEntries(await build({ env })), { A: '1', B: '1:80', SVC_PORT: 'own' });
  });

  it('reads config maps and secrets, with prefixes', async () => {
    const result = await build({
      envFrom: [{ prefix: 'X_', configMapRef: { name: 'cm' } }],
      env: [{ name: 'P', valueFrom: { secretKeyRef: { name: 'sec', key: 'p' } } }],
    });
    assert.equal(result.get('X_k'), 'v');
    assert.equal(result.get('P'), 'word');
  });

  it('leaves out what is optional and missing', async () => {
    const result = await build({
      envFrom: [{ configMapRef: { name: 'absent', optional: true } }],
      env: [{ name: 'P', valueFrom: { configMapKeyRef: { name: 'cm', key: 'no', optional: true } } }],
    });
    assert.deepEqual([...result.keys()], ['SVC_PORT']);
  });

  it("fails in kubelet's words for what is required and missing", async () => {
    const absent = build({ env: [{ name: 'P', valueFrom: { secretKeyRef: { name: 'absent', key: 'p' } } }] });
    await assert.rejects(absent, { code: 'CREATE_CONTAINER_CONFIG', message: 'secret "absent" not found' });
    const noKey = build({ env: [{ name: 'P', valueFrom: { configMapKeyRef: { name: 'cm', key: 'no' } } }] });
    await assert.rejects(noKey, { message: "couldn't find key no in ConfigMap shop/cm" });
  });
});

describe('serviceEnvironment', () => {
  const service = (name: string, namespace: string, clusterIP: string): Service =>
    ({
      metadata: { name, namespace },
      spec: {
        clusterIP,
        ports: [
          { name: 'http-api', port: 80, protocol: 'TCP' },
          { port: 53, protocol: 'UDP' },
        ],
      },
    }) as Service;

  it('describes every port in the form of links', () => {
    const variables = serviceEnvironment([service('my-db', 'shop', '10.0.0.9')], 'shop', true);
    assert.deepEqual(Object.fromEntries(variables), {
      MY_DB_SERVICE_HOST: '10.0.0.9',
      MY_DB_SERVICE_PORT: '80',
      MY_DB_SERVICE_PORT_HTTP_API: '80',
      MY_DB_PORT: 'tcp://10.0.0.9:80',
      MY_DB_PORT_80_TCP: 'tcp://10.0.0.9:80',
      MY_DB_PORT_80_TCP_PROTO: 'tcp',
      MY_DB_PORT_80_TCP_PORT: '80',
      MY_DB_PORT_80_TCP_ADDR: '10.0.0.9',
      MY_DB_PORT_53_UDP: 'udp://10.0.0.9:53',
      MY_DB_PORT_53_UDP_PROTO: 'udp',
      MY_DB_PORT_53_UDP_PORT: '53',
      MY_DB_PORT_53_UDP_ADDR: '10.0.0.9',
    });
  });

  it('always has the API server, others only of the namespace and with links, headless ones never', () => {
    const services = [
      service('kubernetes', 'default', '10.96.0.1'),
      service('other', 'elsewhere', '10.0.0.8'),
      service('headless', 'shop', 'None'),
      service('db', 'shop', '10.0.0.9'),
    ];
    assert.ok(serviceEnvironment(services, 'shop', true).has('DB_SERVICE_HOST'));
    const names = new Set([...serviceEnvironment(services, 'shop', false).keys()].map((key) => key.split('_')[0]));
    assert.deepEqual([...names], ['KUBERNETES']);
  });
});

describe('downward values', () => {
  const pod = podOf(
    { containers: [container('c', { resources: { limits: { memory: '64Mi' }, requests: { cpu: '250m' } } })] },
    { labels: { b: '2', a: 'x"y' }, annotations: { note: 'n' } },
  );
  const [own] = pod.spec.containers as [ReturnType<typeof container>];
  const value = (resource: string, divisor?: string) =>
    resourceValue(pod, own, { resource, ...(divisor === undefined ? {} : { divisor }) }, downward);

  it('prints labels sorted and quoted', () => {
    assert.equal(fieldValue(pod, { fieldPath: 'metadata.labels' }, downward), 'a="x\\"y"\nb="2"');
  });

  it('reads one annotation, addresses and identity', () => {
    assert.equal(fieldValue(pod, { fieldPath: "metadata.annotations['note']" }, downward), 'n');
    assert.equal(fieldValue(pod, { fieldPath: 'status.podIPs' }, downward), '10.1.0.5,fd00::5');
    assert.equal(fieldValue(pod, { fieldPath: 'status.hostIP' }, downward), '192.0.2.2');
    assert.throws(() => fieldValue(pod, { fieldPath: 'spec.secret' }, downward), /unsupported fieldPath/);
  });

  it("rounds resources up to the divisor, and takes the node's for absent limits", () => {
    assert.equal(value('requests.cpu'), '1');
    assert.equal(value('requests.cpu', '1m'), '250');
    assert.equal(value('limits.memory', '1Mi'), '64');
    assert.equal(value('limits.cpu'), '2');
  });
});

describe('container resources', () => {
  it('converts processors to shares and quota', () => {
    assert.deepEqual([0, 1, 100, 1000, 1e9].map(milliCpuToShares), [2, 2, 102, 1024, 262144]);
    assert.deepEqual(
      [0, 1, 500].map((milli) => milliCpuToQuota(milli, 100_000)),
      [0, 1000, 50_000],
    );
  });

  it('are told processors and memory nodes of its own, and then no quota', () => {
    const item = container('c', {
      resources: { limits: { cpu: '1', memory: '1Mi' }, requests: { cpu: '1', memory: '1Mi' } },
    });
    const resourcesOf = (cpuCfsQuota: boolean, extras: Partial<ContainerExtras>) =>
      containerConfig(
        podOf({ containers: [item] }),
        item,
        {
          ...{ restartCount: 0, imageRef: 'i', imageUser: { uid: undefined, username: '' }, environment: new Map() },
          ...{ targetId: undefined, mounts: [], devices: [], extras: { ...noExtras(), ...extras } },
        },
        {
          resources: { memoryCapacityBytes: 2 ** 30, hugepageSizes: [], cpuCfsQuota, cpuCfsQuotaPeriodMs: 100 },
          security: { seccompProfileRoot: '/x', seccompDefault: false },
        },
      ).linux?.resources ?? {};
    const own = resourcesOf(true, { cpus: '1,9', memoryNodes: '0,1', exclusiveCpus: true });
    assert.deepEqual([own.cpuQuota, own.cpusetCpus, own.cpusetMems], [-1, '1,9', '0,1']);
    const shared = resourcesOf(true, { cpus: '0,2-8' });
    assert.deepEqual([shared.cpuQuota, shared.cpusetCpus, shared.cpusetMems], [100_000, '0,2-8', undefined]);
    assert.equal(resourcesOf(false, { exclusiveCpus: true }).cpuQuota, undefined);
  });

  it('protects guaranteed pods from the OOM killer and offers best effort ones first', () => {
    const memory = 1024 ** 3;
    const score = (resources: object, extra = {}) => {
      const item = container('c', { resources });
      return oomScoreAdj(podOf({ containers: [item], ...extra }), item, memory);
    };
    const full = { cpu: '1', memory: '256Mi' };
    assert.equal(score({ requests: full, limits: full }), -997);
    assert.equal(score({}), 1000);
    assert.equal(score({ requests: { memory: '256Mi' } }), 750);
    assert.equal(score({ requests: { cpu: '1m' } }), 999);
    assert.equal(score({ requests: { memory: '2Gi' } }), 3);
    assert.equal(score({}, { priority: 2_000_001_000 }), -997);
    const resources = { requests: { memory: '512Mi' } };
    assert.equal(
      score({ requests: { memory: '256Mi' } }, { resources }),
      500,
      'what the pod has beside its containers',
    );
  });
});

describe('computeDnsConfig', () => {
  const settings = {
    clusterDns: ['10.96.0.10'],
    clusterDomain: 'cluster.local',
    host: parseResolvConf('nameserver 1.1.1.1\nsearch corp.example.\noptions timeout:1\n'),
  };

  it('puts the cluster first', () => {
    const { config } = computeDnsConfig(podOf({ containers: [] }), settings);
    assert.deepEqual(config.servers, ['10.96.0.10']);
    assert.deepEqual(config.searches, ['shop.svc.cluster.local', 'svc.cluster.local', 'cluster.local', 'corp.example']);
    assert.deepEqual(config.options, ['ndots:5']);
  });

  it("uses the node's resolver under Default and on the host network", () => {
    for (const spec of [{ dnsPolicy: 'Default' }, { hostNetwork: true }]) {
      const { config } = computeDnsConfig(podOf({ containers: [], ...spec }), settings);
      assert.deepEqual(config, { servers: ['1.1.1.1'], searches: ['corp.example'], options: ['timeout:1'] });
    }
  });

  it("adds the pod's own, which override options of the same name", () => {
    const dnsConfig = {
      nameservers: ['9.9.9.9'],
      searches: ['x.y'],
      options: [{ name: 'ndots', value: '2' }, { name: 'edns0' }],
    };
    const { config } = computeDnsConfig(podOf({ containers: [], dnsConfig }), settings);
    assert.deepEqual(config.servers, ['10.96.0.10', '9.9.9.9']);
    assert.deepEqual(config.options, ['ndots:2', 'edns0']);
  });

  it('warns when it has to leave out name servers or has no cluster DNS', () => {
    const dnsConfig = { nameservers: ['1.0.0.1', '1.0.0.2', '1.0.0.3'] };
    const many = computeDnsConfig(podOf({ containers: [], dnsConfig }), settings);
    assert.equal(many.config.servers?.length, 3);
    assert.deepEqual(
      many.warnings.map(({ reason }) => reason),
      ['DNSConfigForming'],
    );
    const none = computeDnsConfig(podOf({ containers: [] }), { ...settings, clusterDns: [] });
    assert.deepEqual(
      none.warnings.map(({ reason }) => reason),
      ['MissingClusterDNS'],
    );
  });
});

describe('names of a pod', () => {
  it('uses the full name where the pod asks for it, and refuses one that is too long', () => {
    const pod = podOf({ containers: [], hostname: 'h1', subdomain: 'sub', setHostnameAsFQDN: true });
    assert.equal(sandboxHostname(pod, 'cluster.local'), 'h1.sub.shop.svc.cluster.local');
    pod.spec.hostname = 'h'.repeat(50);
    assert.throws(() => sandboxHostname(pod, 'cluster.local'), /too long/);
  });

  it('writes addresses and aliases into the hosts file', () => {
    const pod = podOf({ containers: [], hostAliases: [{ ip: '1.2.3.4', hostnames: ['a.b', 'c'] }] });
    const text = hostsFile(pod, { ips: ['10.1.0.5'], hostname: 'web', domain: 'd.example' }, '');
    assert.match(text, /^# Kubernetes-managed hosts file\.\n127\.0\.0\.1\tlocalhost\n/);
    assert.match(text, /\n10\.1\.0\.5\tweb\.d\.example\tweb\n/);
    assert.match(text, /\n1\.2\.3\.4\ta\.b\tc\n$/);
  });
});

describe('container annotations', () => {
  it('hashes name and image as kubelet does', () => {
    assert.equal(containerHash({ name: 'c', image: 'registry.k8s.io/pause:3.6' }), '9e52c9a9');
  });

  it('reads back what it wrote', () => {
    const item = container('c', { lifecycle: { preStop: { exec: { command: ['sh', '-c', 'true'] } } } });
    const facts = parseContainerFacts(
      containerAnnotations(podOf({ containers: [item], terminationGracePeriodSeconds: 7 }), item, 3),
    );
    assert.equal(facts.restartCount, 3);
    assert.equal(facts.terminationGracePeriodSeconds, 7);
    assert.deepEqual(facts.preStop, { exec: { command: ['sh', '-c', 'true'] } });
  });

  it('takes damaged annotations for absent', () => {
    const facts = parseContainerFacts({
      'io.kubernetes.container.restartCount': 'x',
      'io.kubernetes.container.preStopHandler': '{',
    });
    assert.equal(facts.restartCount, 0);
    assert.equal(facts.preStop, undefined);
  });
});

describe('containerSecurityContext', () => {
  const settings = { seccompProfileRoot: '/seccomp', seccompDefault: false };
  const root: ImageUser = { uid: undefined, username: '' };
  const build = (extra: object, podContext: object, user = root) => {
    const item = container('c', { securityContext: extra });
    return containerSecurityContext(podOf({ containers: [item], securityContext: podContext }), item, user, settings);
  };

  it("prefers the container's settings to the pod's", () => {
    const context = build({ runAsUser: 5 }, { runAsUser: 1, runAsGroup: 2 });
    assert.deepEqual(context.runAsUser, { value: 5 });
    assert.deepEqual(context.runAsGroup, { value: 2 });
  });

  it("runs as the image's user where nobody says otherwise", () => {
    assert.deepEqual(build({}, {}, { uid: 33, username: '' }).runAsUser, { value: 33 });
    assert.equal(build({}, {}, { uid: undefined, username: 'www' }).runAsUsername, 'www');
  });

  it('refuses root where the pod forbids it', () => {
    assert.throws(() => build({ runAsNonRoot: true }, {}), /image will run as root/);
    assert.throws(() => build({ runAsNonRoot: true, runAsUser: 0 }, {}), /breaks non-root policy/);
    assert.throws(() => build({ runAsNonRoot: true }, {}, { uid: undefined, username: 'www' }), /non-numeric user/);
    assert.doesNotThrow(() => build({ runAsNonRoot: true }, {}, { uid: 33, username: '' }));
  });
});

describe('parseLogLine', () => {
  it('splits time, stream, tag and text', () => {
    assert.deepEqual(parseLogLine('2026-01-01T00:00:00.1Z stderr P half a line'), {
      timestamp: '2026-01-01T00:00:00.1Z',
      stream: 'stderr',
      partial: true,
      content: 'half a line',
    });
  });

  it('knows nothing of other lines', () => {
    assert.equal(parseLogLine('panic'), undefined);
    assert.equal(parseLogLine('a b c d'), undefined);
  });
});
