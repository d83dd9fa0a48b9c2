// Command form of buildImages: packaging/node packaging/images/build.ts OUTPUT_DIR [EXTRA_NAME...]
import { systemExec } from '#kube/process/exec.ts';
import { buildImages } from './build-images.ts';

const [outputDir, ...extraNames] = process.argv.slice(2);
if (outputDir === undefined) {
  console.error('usage: build.ts OUTPUT_DIR [EXTRA_NAME...]');
  process.exitCode = 1;
} else {
  for (const image of await buildImages(systemExec, outputDir, extraNames)) {
    console.log(`${image.archivePath}: ${image.names.join(', ')}`);
  }
}
