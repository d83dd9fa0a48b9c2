import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { describe, it } from 'node:test';

const root = join(import.meta.dirname, '../../..');

/** Tracked and new source files, generated ones aside. */
const files = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard', '*.ts'], {
  cwd: root,
  encoding: 'utf8',
})
  .split('\n')
  .filter((file) => file !== '' && existsSync(join(root, file)));

const isGenerated = (file: string): boolean => /(^|\/)(generated|data)\//.test(file);

interface Import {
  from: string;
  specifier: string;
  /** Path below the root; undefined for packages. */
  target: string | undefined;
  typeOnly: boolean;
}

const importPattern =
  /^\s*(?:import|export)\s+(type\s+)?(?:[^'";]*?\sfrom\s+)?['"]([^'"]+)['"]|\bimport\(\s*['"]([^'"]+)['"]\s*\)/gm;

function importsOf(file: string): Import[] {
  const text = readFileSync(join(root, file), 'utf8');
  return [...text.matchAll(importPattern)].map((match) => {
    const specifier = match[2] ?? match[3] ?? '';
    let target: string | undefined;
    if (specifier.startsWith('.')) target = relative(root, resolve(root, dirname(file), specifier));
    else if (specifier.startsWith('#')) target = specifier.slice(1);
    return { from: file, specifier, target, typeOnly: match[1] !== undefined };
  });
}

const imports = files.filter((file) => !isGenerated(file)).flatMap(importsOf);
const top = (path: string): string => path.split('/')[0] ?? '';

/** Which top-level folders a folder may import, itself aside. */
const allowed: Record<string, string[]> = {
  kube: [],
  proto: [],
  agent: ['kube', 'proto'],
  proxy: ['kube'],
  'control-plane-lite': ['kube', 'proto'],
  packaging: ['kube'],
  cli: ['kube', 'agent', 'proxy', 'control-plane-lite', 'packaging'],
  bench: ['kube', 'agent', 'proxy', 'control-plane-lite', 'cli', 'packaging', 'proto', 'test'],
  test: ['kube', 'agent', 'proxy', 'control-plane-lite', 'cli', 'packaging', 'proto', 'bench'],
};

/** Packages that may be used only below these folders; tests stand in for peers and may use them too. */
const packageHomes: [RegExp, RegExp][] = [
  [
    /^@grpc\//,
    /^(agent\/(cri|device-plugin|dra|pod-resources|volume\/csi|probe\/grpc|plugin-registration)|control-plane-lite\/storage\/etcd)(\/|\.|-)/,
  ],
  [/^dbus-native$/, /^agent\/systemd\//],
  [/^fastify$/, /^(agent\/server|proxy\/health|control-plane-lite\/apiserver)\//],
  [/^execa$/, /^kube\/process\/exec\.ts$/],
  [/^systeminformation$/, /^agent\/node\//],
  [/^@marcbachmann\/cel-js$/, /^control-plane-lite\/cel\//],
];

/** Folders and files that decide and do nothing: they may import the API's facts and each other. */
const pure =
  /^(proxy\/(model|plan)\/|proxy\/(pod-network|network-policy)\/plan-|agent\/sync\/plan-|[^/]+\/(.+\/)?compute-[^/]+\.ts$|control-plane-lite\/registry\/(defaulting|validation|tables)\/)/;
const pureMayImport =
  /^(kube\/(api|errors)\/|proxy\/(model|plan|pod-network|network-policy)\/|control-plane-lite\/registry\/|control-plane-lite\/scheduler\/framework\/|agent\/|control-plane-lite\/controllers\/)/;
const effectPackages =
  /^(node:(child_process|fs|fs\/promises|http|https|http2|dgram|worker_threads)|undici|execa|fastify|lmdb|@grpc\/.*|pino|ws)$/;

const maxLines = 400;
const maxTestLines = 600;

function cycles(): string[] {
  const graph = new Map<string, string[]>();
  for (const { from, target, typeOnly } of imports) {
    if (target === undefined || typeOnly || top(from) === 'test') continue;
    graph.set(from, [...(graph.get(from) ?? []), target]);
  }
  const state = new Map<string, 'open' | 'done'>();
  const found: string[] = [];
  const visit = (file: string, path: readonly string[]): void => {
    if (state.get(file) === 'done') return;
    if (state.get(file) === 'open') {
      found.push([...path.slice(path.indexOf(file)), file].join(' -> '));
      return;
    }
    state.set(file, 'open');
    for (const next of graph.get(file) ?? []) visit(next, [...path, file]);
    state.set(file, 'done');
  };
  for (const file of graph.keys()) visit(file, []);
  return found;
}

describe('architecture', () => {
  it('finds the sources and their imports', () => {
    assert.ok(files.length > 100);
    assert.ok(
      imports.some(({ from, target }) => from === 'cli/main.ts' && target === 'proxy/main.ts'),
      'dynamic imports are seen',
    );
    assert.ok(
      imports.some(({ from, target }) => from === 'proxy/wiring.ts' && target === 'kube/client/create-client.ts'),
    );
  });

  it('points dependencies one way: kube, then the components, then cli', () => {
    const wrong = imports.filter(({ from, target }) => {
      if (target === undefined || target === 'package.json' || top(from) === top(target)) return false;
      return !(allowed[top(from)] ?? []).includes(top(target));
    });
    assert.deepEqual(
      wrong.map(({ from, target }) => `${from} imports ${target}`),
      [],
    );
  });

  it('imports only files that exist', () => {
    const wrong = imports.filter(({ target }) => target !== undefined && !existsSync(join(root, target)));
    assert.deepEqual(
      wrong.map(({ from, specifier }) => `${from} imports ${specifier}`),
      [],
    );
  });

  it('has no import cycles', () => {
    assert.deepEqual(cycles(), []);
  });

  it('uses packages only where they belong', () => {
    const wrong = imports.filter(({ from, specifier, typeOnly }) => {
      if (typeOnly || /^(test|bench|packaging)\//.test(from)) return false;
      return packageHomes.some(([name, home]) => name.test(specifier) && !home.test(from));
    });
    assert.deepEqual(
      wrong.map(({ from, specifier }) => `${from} imports ${specifier}`),
      [],
    );
  });

  it('keeps planners free of effects', () => {
    const wrong = imports.filter(({ from, specifier, target, typeOnly }) => {
      if (!pure.test(from) || typeOnly) return false;
      return target === undefined ? effectPackages.test(specifier) : !pureMayImport.test(target);
    });
    assert.deepEqual(
      wrong.map(({ from, specifier }) => `${from} imports ${specifier}`),
      [],
    );
  });

  it('keeps files short', () => {
    const long = files
      .filter((file) => !isGenerated(file))
      .map((file) => ({ file, lines: readFileSync(join(root, file), 'utf8').split('\n').length - 1 }))
      .filter(({ file, lines }) => lines > (top(file) === 'test' ? maxTestLines : maxLines));
    assert.deepEqual(long, []);
  });

  it('has no drawers for odds and ends', () => {
    const drawers = files.filter((file) => /(^|\/)(utils?|helpers?|common|lib|misc)(\/|\.ts$)/.test(file));
    assert.deepEqual(drawers, []);
  });

  it('opens every file with what it owns', () => {
    const bare = files.filter(
      (file) =>
        !isGenerated(file) && top(file) !== 'test' && !/^(#!.*\n)?\/\/ /.test(readFileSync(join(root, file), 'utf8')),
    );
    assert.deepEqual(bare, []);
  });
});
