// Builds the Debian package of what `npm run build` made: berth with its own Node runtime below /usr/lib/berth, the
// command, and the units. Run as `packaging/node packaging/deb/build.ts [--version V] [--output DIR]`.
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { execOrThrow, systemExec } from '#kube/process/exec.ts';
import { packageFiles } from './package-files.ts';

const root = join(import.meta.dirname, '../..');
const home = '/usr/lib/berth';
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  version: string;
  description: string;
};
const built = JSON.parse(readFileSync(join(root, 'dist/bundle.json'), 'utf8')) as {
  files: string[];
  outside: string[];
};
const { values } = parseArgs({
  options: {
    version: { type: 'string', default: manifest.version },
    output: { type: 'string', default: join(root, 'dist') },
  },
});

const depends = [
  'containerd | containerd.io',
  'containernetworking-plugins | kubernetes-cni',
  'conntrack',
  'iproute2',
  'iptables',
  'kmod',
  'mount',
  'nftables',
  'systemd',
  'util-linux',
];
const arch = process.arch === 'arm64' ? 'arm64' : 'x64';
const architecture = arch === 'x64' ? 'amd64' : 'arm64';

const stage = mkdtempSync(join(tmpdir(), 'berth-deb-'));
process.umask(0o022);
chmodSync(stage, 0o755);

function put(path: string, content: string, mode = 0o644): void {
  const target = join(stage, path);
  mkdirSync(dirname(target), { recursive: true });
  writeFileSync(target, content, { mode });
}

try {
  const made = new Set<string>();
  for (const file of packageFiles(root, built.files, built.outside, arch)) {
    const target = join(stage, home, file);
    const directory = dirname(target);
    if (!made.has(directory)) mkdirSync(directory, { recursive: true });
    made.add(directory);
    copyFileSync(join(root, file), target);
  }
  mkdirSync(join(stage, 'usr/bin'), { recursive: true });
  symlinkSync('../lib/berth/packaging/berth', join(stage, 'usr/bin/berth'));
  for (const [unit, other] of [
    ['berth-agent.service', 'kubelet.service'],
    ['berth-proxy.service', 'kube-proxy.service'],
  ] as const) {
    const template = readFileSync(join(root, 'packaging/systemd', unit), 'utf8');
    const text = template.replaceAll('@berth@', `${home}/packaging/berth`).replaceAll('@other@', other);
    put(`usr/lib/systemd/system/${unit}`, text);
  }
  for (const script of ['postinst', 'prerm', 'postrm']) {
    put(`DEBIAN/${script}`, readFileSync(join(root, 'packaging/deb', script), 'utf8'), 0o755);
  }
  put(
    'DEBIAN/control',
    `${[
      'Package: berth',
      `Version: ${values.version}`,
      `Architecture: ${architecture}`,
      'Maintainer: The berth authors <berth@localhost>',
      'Section: admin',
      'Priority: optional',
      `Depends: ${depends.join(', ')}`,
      'Recommends: dbus, ipset, ipvsadm, procps',
      `Description: ${manifest.description}`,
    ].join('\n')}\n`,
  );
  const output = join(values.output, `berth_${values.version}_${architecture}.deb`);
  mkdirSync(values.output, { recursive: true });
  // gzip: a tenth of the time of xz for a runtime that hardly gets smaller.
  await execOrThrow(systemExec, 'dpkg-deb', ['--root-owner-group', '-Zgzip', '-z6', '--build', stage, output]);
  process.stdout.write(`${output}\n`);
} finally {
  rmSync(stage, { recursive: true, force: true });
}
