// Bundles the berth command and everything it imports into dist/. Native modules and large packages that are
// loaded whole stay outside; data files stay where they are and are found relative to the bundle.
import { readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join, relative, resolve } from 'node:path';
import { build, type Plugin } from 'esbuild';

const root = join(import.meta.dirname, '..');
const outdir = join(root, 'dist');

/** `new URL('./data/x.json', import.meta.url)` names a file beside the source; in the bundle it must still do so. */
const dataFiles: Plugin = {
  name: 'data-files',
  setup(bundler) {
    bundler.onLoad({ filter: /\.ts$/ }, async ({ path }) => {
      const source = await readFile(path, 'utf8');
      const contents = source.replaceAll(
        /new URL\((['"`])(\.[^'"`]*)\1, import\.meta\.url\)/g,
        (_, quote: string, file: string) => {
          return `new URL(${quote}${relative(outdir, resolve(dirname(path), file))}${quote}, import.meta.url)`;
        },
      );
      return { contents, loader: 'ts' };
    });
  },
};

/** Of undici only the pool is used; its main module loads fetch, WebSocket, caches and mocks beside it. */
const undiciPool: Plugin = {
  name: 'undici-pool',
  setup(bundler) {
    bundler.onResolve({ filter: /^undici$/ }, () => ({ path: 'undici', namespace: 'undici-pool' }));
    bundler.onLoad({ filter: /^undici$/, namespace: 'undici-pool' }, () => ({
      contents: `
        const Dispatcher = require('undici/lib/dispatcher/dispatcher.js');
        Object.assign(Dispatcher.prototype, require('undici/lib/api/index.js'));
        exports.Pool = require('undici/lib/dispatcher/pool.js');`,
      loader: 'js',
      resolveDir: root,
    }));
  },
};

/** Importing `node:http` reads all it exports and so loads fetch, WebSocket and web streams; requiring it does not. */
const requiredHttp: Plugin = {
  name: 'required-http',
  setup(bundler) {
    bundler.onResolve({ filter: /^node:http$/ }, ({ kind }) =>
      kind === 'import-statement' ? { path: 'node:http', namespace: 'required-http' } : undefined,
    );
    bundler.onLoad({ filter: /^node:http$/, namespace: 'required-http' }, () => ({
      contents: "module.exports = require('node:http');",
      loader: 'js',
    }));
  },
};

/** Loaded from node_modules as they are. */
const outside = ['lmdb', 'protobufjs', '@grpc/grpc-js', '@grpc/proto-loader'];

const { metafile } = await build({
  absWorkingDir: root,
  entryPoints: { berth: 'cli/main.ts' },
  outdir,
  outExtension: { '.js': '.mjs' },
  bundle: true,
  splitting: true,
  // All in one folder, so that relative paths hold in every chunk.
  chunkNames: '[name]-[hash]',
  format: 'esm',
  platform: 'node',
  target: 'node24',
  sourcemap: 'linked',
  minifySyntax: true,
  // The text of every module stays in memory; names are kept for stack traces.
  minifyWhitespace: true,
  external: [...outside, 'systeminformation'],
  plugins: [dataFiles, undiciPool, requiredHttp],
  metafile: true,
  logLevel: 'warning',
  banner: {
    js: "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);",
  },
});

// What a package of this build consists of.
await writeFile(join(outdir, 'bundle.json'), JSON.stringify({ files: Object.keys(metafile.outputs), outside }));

// Processes that run from an earlier build may yet load parts of it.
const keepMs = 7 * 24 * 3600 * 1000;
const current = new Set(Object.keys(metafile.outputs).map((path) => resolve(root, path)));
for (const name of await readdir(outdir)) {
  const path = join(outdir, name);
  if (!current.has(path) && Date.now() - (await stat(path)).mtimeMs > keepMs) await rm(path);
}
