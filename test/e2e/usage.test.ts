import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { systemExec } from '#kube/process/exec.ts';

const berth = join(import.meta.dirname, '../../packaging/berth');
const run = (...args: string[]) => systemExec(berth, args, { env: { BERTH_SOURCES: '1' }, timeoutMs: 30_000 });
const isRoot = process.getuid?.() === 0;

describe('wrong use of the berth command', () => {
  let work: string;
  before(async () => {
    work = await mkdtemp(join(tmpdir(), 'berth-usage-'));
  });
  after(async () => {
    await rm(work, { recursive: true, force: true });
  });

  const cases: [string, string[], RegExp][] = [
    ['an unknown command', ['upp'], /unknown command 'upp'[\s\S]*Did you mean up/],
    ['an unknown option', ['up', '--nodess', '2'], /unknown option '--nodess'/],
    ['a number that is none', ['up', '--nodes', 'many'], /a whole number is needed/],
    ['too many nodes', ['up', '--nodes', '1000'], /--nodes takes a number from 1 to 50/],
    ['an unknown agent flag', ['agent', '--hostnme-override=x'], /^berth: unknown flag --hostnme-override for agent/],
    [
      'an unknown proxy flag',
      ['proxy', '--mode=x'],
      /^berth: unknown flag --mode for proxy; did you mean --proxy-mode/,
    ],
    ['an unknown control plane flag', ['control-plane', '--nope'], /^berth: unknown flag --nope for control-plane/],
    [
      'a proxy mode there is not',
      ['proxy', '--proxy-mode=magic'],
      /^berth: KubeProxyConfiguration\.Mode\.ProxyMode: Invalid value: "magic": must be iptables, ipvs, nftables or blank/,
    ],
    ['a bad duration', ['proxy', '--iptables-sync-period=soon'], /"soon" is not a duration/],
    [
      'a store in the kernel',
      ['control-plane', '--data-dir=/proc/x'],
      /--data-dir takes a folder on disk, not "\/proc\/x"/,
    ],
    [
      'a service range that is none',
      ['control-plane', '--service-cluster-ip-range=banana'],
      /service-cluster-ip-range.*banana/,
    ],
    ['a kubeconfig that is not there', ['proxy', '--kubeconfig=/nowhere/kubeconfig'], /\/nowhere\/kubeconfig/],
  ];
  for (const [title, args, expected] of cases) {
    it(`answers ${title} with one line and a failure`, async () => {
      const result = await run(...args);
      assert.notEqual(result.exitCode, 0);
      assert.match(result.stderr, expected);
      assert.doesNotMatch(result.stderr, /\n {4}at /, 'no stack trace');
    });
  }

  it('names an unknown configuration key and what is allowed', async () => {
    const path = join(work, 'proxy.yaml');
    await writeFile(
      path,
      'apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\niptables:\n  minSyncPeriode: 1s\n',
    );
    const result = await run('proxy', `--config=${path}`);
    assert.equal(result.exitCode, 1);
    assert.match(result.stderr, /unknown field iptables\.minSyncPeriode; allowed here: .*minSyncPeriod/);
    const agent = join(work, 'agent.yaml');
    await writeFile(agent, 'apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nmaxPodss: 3\n');
    const other = await run('agent', `--config=${agent}`);
    assert.equal(other.exitCode, 1);
    assert.match(other.stderr, /unknown field maxPodss/);
  });

  it('says which port is in use and how to find out by whom', {
    skip: isRoot ? false : 'needs root to get that far',
  }, async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '0.0.0.0', resolve));
    const { port } = server.address() as { port: number };
    try {
      const result = await run('up', '--instance', 'bt-usage', '--api-port', String(port));
      assert.equal(result.exitCode, 1);
      assert.match(result.stderr, new RegExp(`port ${port} \\(API server\\) is in use`));
    } finally {
      server.close();
      await run('down', '--purge', '--instance', 'bt-usage');
    }
  });

  it('prints versions and help', async () => {
    assert.match((await run('--version')).stdout, /^berth \d+\.\d+\.\d+ \(Kubernetes v1\.36\.\d+\)\n$/);
    assert.match((await run('proxy', '--help')).stdout, /--cluster-cidr/);
    assert.match((await run('agent', '--help')).stdout, /--node-ip/);
    assert.match((await run('control-plane', '--help')).stdout, /--secure-port/);
  });
});
