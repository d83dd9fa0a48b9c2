// Bundles the berth command and everything it imports into dist/. Native modules and large packages that are
// loaded whole stay outside; data files stay where they are and are found relative to the bundle.
import { readFile, rm } from 'node:fs/promises';
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

await rm(outdir, { recursive: true, force: true });
await build({
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
  external: [
    'lmdb',
    'systeminformation',
    'fastify',
    'protobufjs',
    '@grpc/grpc-js',
    '@grpc/proto-loader',
    'listr2',
    'pino',
    'ws',
  ],
  plugins: [dataFiles],
  logLevel: 'warning',
  banner: {
    js: "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);",
  },
});
