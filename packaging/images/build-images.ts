// Builds the images a cluster without a registry needs, from static binaries of the distribution's packages.
import { chmod, copyFile, mkdir, mkdtemp, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Exec, execOrThrow } from '#kube/process/exec.ts';
import { UsageError } from '#kube/process/flags.ts';
import { writeOciArchive } from './oci-archive.ts';

/** The sandbox image every pod's namespaces hang on. */
export const pauseImage = 'localhost/berth/pause:1';
/** A shell and small network tools: the image of the sample. */
export const busyboxImage = 'localhost/berth/busybox:1';

/** An archive that was built and the image names inside it. */
export interface BuiltImage {
  names: readonly string[];
  archivePath: string;
}

async function findBinary(candidates: readonly string[], debianPackage: string): Promise<string> {
  for (const path of candidates) {
    try {
      await stat(path);
      return path;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
  }
  throw new UsageError(`${candidates[0]} is missing: apt-get install ${debianPackage}`);
}

async function pauseRoot(root: string): Promise<void> {
  const catatonit = await findBinary(['/usr/bin/catatonit', '/usr/libexec/catatonit/catatonit'], 'catatonit');
  await copyFile(catatonit, join(root, 'pause'));
  await chmod(join(root, 'pause'), 0o755);
}

async function busyboxRoot(exec: Exec, root: string): Promise<void> {
  const busybox = await findBinary(['/bin/busybox', '/usr/bin/busybox'], 'busybox-static');
  for (const dir of ['bin', 'etc', 'home', 'root', 'tmp', 'usr/bin', 'usr/sbin', 'var/run', 'var/log', 'www']) {
    await mkdir(join(root, dir), { recursive: true });
  }
  await chmod(join(root, 'tmp'), 0o1777);
  await chmod(join(root, 'root'), 0o700);
  await copyFile(busybox, join(root, 'bin/busybox'));
  await chmod(join(root, 'bin/busybox'), 0o755);
  for (const applet of (await execOrThrow(exec, busybox, ['--list'])).split('\n')) {
    if (applet !== '' && applet !== 'busybox') await symlink('busybox', join(root, 'bin', applet));
  }
  await symlink('/bin/env', join(root, 'usr/bin/env'));
  await writeFile(
    join(root, 'etc/passwd'),
    'root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33:www:/www:/bin/false\nnobody:x:65534:65534:nobody:/home:/bin/false\n',
  );
  await writeFile(join(root, 'etc/group'), 'root:x:0:\nwww-data:x:33:\nnobody:x:65534:\n');
  await writeFile(join(root, 'etc/nsswitch.conf'), 'hosts: files dns\n');
}

/** Builds both archives into `outputDir`. Extra names are further tags of the busybox image, for tests. */
export async function buildImages(
  exec: Exec,
  outputDir: string,
  extraNames: readonly string[] = [],
): Promise<BuiltImage[]> {
  const work = await mkdtemp(join(tmpdir(), 'berth-rootfs-'));
  const path = ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'];
  try {
    const pause = join(work, 'pause');
    const busybox = join(work, 'busybox');
    await mkdir(pause);
    await mkdir(busybox);
    await pauseRoot(pause);
    await busyboxRoot(exec, busybox);
    const built: BuiltImage[] = [
      { names: [pauseImage], archivePath: join(outputDir, 'pause.tar') },
      { names: [busyboxImage, ...extraNames], archivePath: join(outputDir, 'busybox.tar') },
    ];
    const [pauseArchive, busyboxArchive] = built as [BuiltImage, BuiltImage];
    await writeOciArchive(exec, {
      names: pauseArchive.names,
      rootDir: pause,
      config: { Entrypoint: ['/pause', '-P'], Env: path },
      outputPath: pauseArchive.archivePath,
    });
    await writeOciArchive(exec, {
      names: busyboxArchive.names,
      rootDir: busybox,
      config: { Cmd: ['sh'], Env: path },
      outputPath: busyboxArchive.archivePath,
    });
    return built;
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}
