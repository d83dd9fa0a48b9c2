// Programs for Node inside containers of the small image: the runtime of the tests and its libraries are mounted from
// the host, so that no image has to hold them.
import { realpath } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Container, Volume } from '#kube/api/generated/core-v1.ts';
import { execOrThrow, systemExec } from '#kube/process/exec.ts';
import { busyboxImage } from '../../packaging/images/build-images.ts';

/** Folders that the dynamic loader looks into for the libraries of a program. */
async function libraryFolders(program: string): Promise<string[]> {
  const listing = await execOrThrow(systemExec, 'ldd', [program]);
  const paths = [...listing.matchAll(/(\/\S+) \(0x/g)].map(([, path = '']) => dirname(path));
  return [...new Set(paths)];
}

/** A container that runs a CommonJS program, and the volumes it needs. */
export async function nodeProgram(
  source: string,
  fields: Partial<Container> = {},
): Promise<{ container: Container; volumes: Volume[] }> {
  const program = await realpath(process.execPath);
  const paths = [program, ...(await libraryFolders(program))];
  const volumes = paths.map((path, index) => ({ name: `node-${index}`, hostPath: { path } }));
  const volumeMounts = paths.map((path, index) => ({
    name: `node-${index}`,
    mountPath: index === 0 ? '/node' : path,
    readOnly: true,
  }));
  const command = ['/node', '-e', source];
  const container = { name: 'main', image: busyboxImage, command, ...fields };
  return { container: { ...container, volumeMounts: [...volumeMounts, ...(fields.volumeMounts ?? [])] }, volumes };
}
