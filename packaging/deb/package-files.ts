// Which files the package has: the bundle, data files beside their sources, packages that stay outside the bundle with
// all that they need, and the pinned Node runtime.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';

const sourceFolders = ['agent', 'cli', 'control-plane-lite', 'kube', 'packaging', 'proto', 'proxy'];
/** Parts of npm packages that nothing loads. */
const unneeded =
  /(\.(map|md|markdown|flow|c|cc|cpp|h|gyp|mdb)|\.d\.[cm]?ts|\.ts)$|\/(test|tests|docs|deps|src\/.*\.cpp)\//;

interface Manifest {
  dependencies?: Record<string, string>;
  optionalDependencies?: Record<string, string>;
}

function filesBelow(root: string, folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(root, join(entry.parentPath, entry.name)));
}

/** Where a package is found from another, as Node looks for it; undefined where it is not installed. */
function findPackage(root: string, name: string, from: string): string | undefined {
  for (let dir = from; ; dir = dirname(dir)) {
    const path = join(dir, 'node_modules', name);
    if (existsSync(join(path, 'package.json'))) return path;
    if (dir === root || dir === dirname(dir)) return undefined;
  }
}

/** Folders of packages with all they depend on, below `root`. */
export function packageClosure(root: string, names: readonly string[]): string[] {
  const found = new Set<string>();
  const visit = (name: string, from: string, isOptional: boolean): void => {
    const path = findPackage(root, name, from);
    if (path === undefined) {
      if (isOptional) return;
      throw new Error(`the package ${name} is not installed: run npm run setup`);
    }
    if (found.has(path)) return;
    found.add(path);
    const manifest = JSON.parse(readFileSync(join(path, 'package.json'), 'utf8')) as Manifest;
    const optional = manifest.optionalDependencies ?? {};
    for (const inner of Object.keys(manifest.dependencies ?? {})) visit(inner, path, inner in optional);
    for (const inner of Object.keys(optional)) visit(inner, path, true);
  };
  for (const name of names) visit(name, root, false);
  return [...found].map((path) => relative(root, path)).sort();
}

/** All files of the package, relative to `root`. */
export function packageFiles(
  root: string,
  bundle: readonly string[],
  outside: readonly string[],
  arch: string,
): string[] {
  const runtime = `node_modules/node-linux-${arch}`;
  const data = sourceFolders.flatMap((folder) => filesBelow(root, folder)).filter((file) => !/\.ts$/.test(file));
  const modules = packageClosure(root, outside).flatMap((folder) =>
    filesBelow(root, folder).filter(
      (file) => !unneeded.test(file.slice(folder.length)) && !file.slice(folder.length).includes('/node_modules/'),
    ),
  );
  return [
    'package.json',
    'LICENSE',
    ...bundle.filter((file) => !file.endsWith('.map')),
    ...data,
    ...modules,
    `${runtime}/bin/node`,
    `${runtime}/LICENSE`,
    `${runtime}/package.json`,
  ];
}
