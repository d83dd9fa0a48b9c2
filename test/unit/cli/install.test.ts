import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { systemClock } from '#kube/process/clock.ts';
import type { Exec } from '#kube/process/exec.ts';
import { installNode } from '../../../cli/install/install-node.ts';
import { ledgerPath, openLedger, parseLedger, readLedger } from '../../../cli/install/ledger.ts';
import { nodePaths, planInstall, selectAbsent } from '../../../cli/install/plan-install.ts';
import { describeStep, planUninstall } from '../../../cli/install/plan-uninstall.ts';
import { uninstallNode } from '../../../cli/install/uninstall-node.ts';
import { writeRecorded } from '../../../cli/install/write-recorded.ts';

const exec: Exec = async (file) => assert.fail(`no program is run below another root: ${file}`);

/** Every path below a directory with its mode and content. */
function snapshot(root: string): Record<string, string> {
  const paths = readdirSync(root, { recursive: true, encoding: 'utf8' }).sort();
  return Object.fromEntries(
    paths.map((path) => {
      const stat = statSync(join(root, path));
      const content = stat.isDirectory() ? '' : readFileSync(join(root, path), 'utf8');
      return [path, `${(stat.mode & 0o7777).toString(8)} ${content}`];
    }),
  );
}

describe('berth install', () => {
  let root: string;
  const said: string[] = [];
  const say = (line: string) => {
    said.push(line);
  };
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'berth-install-'));
    said.length = 0;
  });
  afterEach(() => rmSync(root, { recursive: true, force: true }));

  const put = (path: string, content: string, mode = 0o644) => {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), content, { mode });
  };
  const uninstall = () => uninstallNode({ entries: readLedger(root) ?? [], root, exec, clock: systemClock, say });

  for (const names of ['berth', 'kubelet'] as const) {
    it(`leaves the machine as it was after uninstall, with the names of ${names}`, async () => {
      put('etc/systemd/system/kubelet.service', 'the other kubelet\n', 0o600);
      put('etc/kubernetes/pki/other.crt', 'somebody else\n');
      const before = snapshot(root);
      const ledger = await installNode({ names, root, exec, say });
      await writeRecorded(join(root, 'etc/kubernetes/kubelet.conf'), 'secret\n', 0o600, ledger);
      put('var/lib/kubelet/pods/u/volumes/x', 'of a pod');
      put('var/log/pods/p/0.log', 'of a pod');
      assert.notDeepEqual(snapshot(root), before);
      assert.equal(await uninstall(), 0);
      assert.deepEqual(snapshot(root), { ...before, ...emptyParents(before) });
      assert.equal(readLedger(root), undefined);
    });
  }

  /** Of directories that hold the ledger and trees only their parents may stay. */
  function emptyParents(before: Record<string, string>): Record<string, string> {
    const now = snapshot(root);
    return Object.fromEntries(
      Object.entries(now).filter(
        ([path, text]) => !(path in before) && /^(var|var\/lib|var\/log)$/.test(path) && text.endsWith(' '),
      ),
    );
  }

  it('keeps how things were before the first of several installations', async () => {
    put('etc/systemd/system/kubelet.service', 'the other kubelet\n');
    await installNode({ names: 'kubelet', root, exec, say });
    await installNode({ names: 'kubelet', root, exec, say });
    assert.equal(await uninstall(), 0);
    assert.equal(readFileSync(join(root, 'etc/systemd/system/kubelet.service'), 'utf8'), 'the other kubelet\n');
  });

  it('records a file before it is written, in a ledger that only root reads', async () => {
    const ledger = openLedger(root);
    await writeRecorded(join(root, 'etc/a/b.conf'), 'x', 0o644, ledger);
    assert.deepEqual(
      parseLedger(readFileSync(ledgerPath(root), 'utf8')).map((entry) => [
        entry.kind,
        'path' in entry && entry.path.slice(root.length),
      ]),
      [
        ['directory', '/etc'],
        ['directory', '/etc/a'],
        ['file', '/etc/a/b.conf'],
      ],
    );
    assert.equal(statSync(ledgerPath(root)).mode & 0o777, 0o600);
  });

  it('goes on after a step that fails, and keeps the ledger', async () => {
    const ledger = openLedger(root);
    put('dir/inside', 'x');
    // A directory where a file was recorded.
    await ledger.add({ kind: 'file', path: join(root, 'dir') });
    await writeRecorded(join(root, 'etc/b.conf'), 'x', 0o644, ledger);
    assert.equal(await uninstall(), 1);
    assert.ok(said.some((line) => line.startsWith('cannot remove')));
    assert.deepEqual(
      readdirSync(root).filter((name) => name === 'etc'),
      [],
    );
    assert.ok(readLedger(root));
  });

  it('refuses a ledger of another kind', () => {
    assert.throws(() => parseLedger('{"version":2,"entries":[]}'), /unknown version/);
    assert.throws(() => parseLedger('{"version":1,"entries":[{"kind":"shell"}]}'), /unknown kind/);
  });
});

describe('the plan of an installation', () => {
  const templates = { agent: 'Conflicts=@other@\nExecStart=@berth@ agent\n', proxy: 'ExecStart=@berth@ proxy\n' };

  it('names the units for berth or for those it stands in for', () => {
    const own = planInstall('berth', templates, '/opt/berth', false, false);
    assert.deepEqual(own.links, []);
    assert.deepEqual(own.units, ['berth-agent.service', 'berth-proxy.service']);
    assert.equal(own.files[0]?.content, 'Conflicts=kubelet.service\nExecStart=/opt/berth agent\n');
    const upstream = planInstall('kubelet', templates, '/opt/berth', true, true);
    assert.deepEqual(
      upstream.files.map(({ path }) => path),
      [
        '/etc/systemd/system/kubelet.service',
        '/etc/systemd/system/kube-proxy.service',
        '/etc/systemd/system/kubelet.service.d/zz-berth.conf',
      ],
    );
    assert.match(upstream.files[2]?.content ?? '', /ExecStart=\nExecStart=\/opt\/berth agent\n/);
    assert.deepEqual(upstream.links, []);
  });

  it('stands where kubelet does when nobody else does, so that drop-ins start it', () => {
    const { files, links } = planInstall('kubelet', templates, '/opt/berth', false, false);
    assert.deepEqual(links, [{ path: '/usr/bin/kubelet', target: '/opt/berth' }]);
    assert.equal(files.length, 2);
  });

  it('knows every file that the agent makes at the top of its directory', () => {
    const sources = join(import.meta.dirname, '../../../agent');
    const made = readdirSync(sources, { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts'))
      .flatMap((name) => [...readFileSync(join(sources, name), 'utf8').matchAll(/rootDir, '([^'/]+)'/g)])
      .map(([, name = '']) => `/var/lib/kubelet/${name}`);
    assert.ok(made.length > 10);
    assert.deepEqual(
      [...new Set(made)].filter((path) => !nodePaths.includes(path)),
      [],
    );
  });

  it('writes no unit that the package has brought', () => {
    assert.deepEqual(planInstall('berth', templates, '/usr/lib/berth/packaging/berth', true, false).files, []);
  });

  it('records only the outermost of directories that are not there', () => {
    const there = new Set(['/var/lib/kubelet']);
    assert.deepEqual(
      selectAbsent(['/var/lib/kubelet', '/var/lib/kubelet/pods', '/etc/kubernetes', '/etc/kubernetes/pki'], (path) =>
        there.has(path),
      ),
      ['/var/lib/kubelet/pods', '/etc/kubernetes'],
    );
  });
});

describe('the plan of an uninstallation', () => {
  it('stops the agent before pods, the proxy after them, and removes what was made last first', () => {
    const steps = planUninstall(
      [
        { kind: 'tree', path: '/var/lib/kubelet' },
        { kind: 'sysctl', name: 'vm/overcommit_memory', value: '0' },
        { kind: 'link', name: 'cni0' },
        { kind: 'mount', path: '/var/lib/kubelet/own' },
        { kind: 'directory', path: '/etc/x' },
        { kind: 'file', path: '/etc/x/a' },
        { kind: 'unit', name: 'berth-agent.service' },
        { kind: 'unit', name: 'berth-proxy.service' },
      ],
      '/',
    );
    assert.deepEqual(steps.map(describeStep), [
      'stop and disable berth-agent.service',
      "stop and remove the node's pods",
      'stop and disable berth-proxy.service',
      "remove the proxy's rules",
      "remove the pods' cgroups",
      'unmount what is mounted below /var/lib/kubelet, but not /var/lib/kubelet/own',
      'remove the network link cni0, if pods left it',
      'remove /etc/x/a',
      'remove /etc/x, if nothing is left in it',
      'remove /var/lib/kubelet with all in it',
      'set vm/overcommit_memory back to 0',
      'let systemd read its units again',
    ]);
  });
});
