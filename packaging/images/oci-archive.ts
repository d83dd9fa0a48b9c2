// Writes a single-layer OCI image archive from a root file system directory, reproducibly:
// the same files give the same digests, so an import that finds the image is a no-op.
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, mkdtemp, rename, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { type Exec, execOrThrow } from '#kube/process/exec.ts';

/** What the image runs by default; the fields of an OCI image configuration. */
export interface ImageConfig {
  Entrypoint?: string[];
  Cmd?: string[];
  Env?: string[];
  WorkingDir?: string;
  User?: string;
}

interface Descriptor {
  mediaType: string;
  digest: string;
  size: number;
}

const reproducible = ['--sort=name', '--mtime=@0', '--owner=0', '--group=0', '--numeric-owner', '--format=gnu'];

async function sha256(path: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path), hash);
  return hash.digest('hex');
}

/** The name Go programs give this machine's architecture. */
export function goArchitecture(nodeArch: string = process.arch): string {
  return nodeArch === 'x64' ? 'amd64' : nodeArch;
}

/** Packs `rootDir` as image `names` into the archive `outputPath`. Needs GNU tar. */
export async function writeOciArchive(
  exec: Exec,
  image: { names: readonly string[]; rootDir: string; config: ImageConfig; outputPath: string },
): Promise<void> {
  const work = await mkdtemp(join(tmpdir(), 'berth-image-'));
  try {
    const blobs = join(work, 'blobs/sha256');
    await mkdir(blobs, { recursive: true });
    const layerPath = join(work, 'layer.tar');
    await execOrThrow(exec, 'tar', [...reproducible, '-C', image.rootDir, '-cf', layerPath, '.']);
    const layerDigest = await sha256(layerPath);
    const layerSize = (await stat(layerPath)).size;
    await rename(layerPath, join(blobs, layerDigest));

    const addJson = async (mediaType: string, value: unknown): Promise<Descriptor> => {
      const text = JSON.stringify(value);
      const digest = createHash('sha256').update(text).digest('hex');
      await writeFile(join(blobs, digest), text);
      return { mediaType, digest: `sha256:${digest}`, size: Buffer.byteLength(text) };
    };

    const config = await addJson('application/vnd.oci.image.config.v1+json', {
      created: '1970-01-01T00:00:00Z',
      architecture: goArchitecture(),
      os: 'linux',
      config: image.config,
      rootfs: { type: 'layers', diff_ids: [`sha256:${layerDigest}`] },
      history: [{ created: '1970-01-01T00:00:00Z', created_by: 'berth' }],
    });
    const manifestType = 'application/vnd.oci.image.manifest.v1+json';
    const layer = {
      mediaType: 'application/vnd.oci.image.layer.v1.tar',
      digest: `sha256:${layerDigest}`,
      size: layerSize,
    };
    const manifest = await addJson(manifestType, {
      schemaVersion: 2,
      mediaType: manifestType,
      config,
      layers: [layer],
    });
    const manifests = image.names.map((name) => ({
      ...manifest,
      annotations: { 'io.containerd.image.name': name, 'org.opencontainers.image.ref.name': name },
    }));
    await writeFile(join(work, 'oci-layout'), JSON.stringify({ imageLayoutVersion: '1.0.0' }));
    await writeFile(join(work, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests }));
    await mkdir(dirname(image.outputPath), { recursive: true });
    const partial = `${image.outputPath}.partial`;
    await execOrThrow(exec, 'tar', [...reproducible, '-C', work, '-cf', partial, 'oci-layout', 'index.json', 'blobs']);
    await rename(partial, image.outputPath);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}
