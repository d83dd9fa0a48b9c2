// Images only tests need, made from the same binaries as the ones clusters come with.
import { chmod, copyFile, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemExec } from '#kube/process/exec.ts';
import { type ImageConfig, writeOciArchive } from '../../packaging/images/oci-archive.ts';

/** Prints its arguments; without any, the two words it has by default. */
export const entrypointImage = 'localhost/berth-test/entrypoint:1';

const images: { name: string; config: ImageConfig }[] = [
  {
    name: entrypointImage,
    config: { Entrypoint: ['/bin/busybox', 'echo', 'default-entrypoint'], Cmd: ['default', 'arguments'] },
  },
];

/** Writes an archive per image into `directory` and answers their paths. */
export async function buildTestImages(directory: string): Promise<string[]> {
  const rootDir = await mkdtemp(join(tmpdir(), 'berth-test-image-'));
  try {
    await mkdir(join(rootDir, 'bin'));
    await copyFile('/bin/busybox', join(rootDir, 'bin/busybox'));
    await chmod(join(rootDir, 'bin/busybox'), 0o755);
    await mkdir(directory, { recursive: true });
    return await Promise.all(
      images.map(async ({ name, config }, index) => {
        const outputPath = join(directory, `${index}.tar`);
        await writeOciArchive(systemExec, { names: [name], rootDir, config, outputPath });
        return outputPath;
      }),
    );
  } finally {
    await rm(rootDir, { recursive: true, force: true });
  }
}
