// NFS volumes, inline or behind a claim: mounted once for each pod (pkg/volume/nfs).
import { mkdir } from 'node:fs/promises';
import { measureFilesystem } from './measure-usage.ts';
import { isMountPoint, type Mounter } from './mounter.ts';
import { VolumeError } from './payload.ts';
import { volumeDirectory } from './pod-paths.ts';
import { removeTree } from './remove-tree.ts';
import { uidOf, type VolumeKind, type VolumeRequest } from './volume-kind.ts';

const plugin = 'kubernetes.io/nfs';

function sourceOf({ volume, bound }: VolumeRequest) {
  return bound === undefined ? volume.nfs : bound.volume.spec?.nfs;
}

/** Creates the kind. */
export function createNfsKind(rootDir: string, mounter: Mounter): VolumeKind {
  return {
    plugin,
    supports: (request) => sourceOf(request) !== undefined,
    measure: (_, { hostPath }) => measureFilesystem(hostPath),
    async setUp(request, signal) {
      const source = sourceOf(request);
      if (source === undefined) throw new VolumeError(`volume "${request.specName}" is not on NFS`);
      const { server, path } = source;
      const readOnly = source.readOnly === true || request.bound?.readOnly === true;
      const target = volumeDirectory(rootDir, uidOf(request.pod), plugin, request.specName);
      const prepared = { hostPath: target, readOnly };
      if (await isMountPoint(mounter, target)) return prepared;
      await mkdir(target, { recursive: true, mode: 0o750 });
      const host = server.includes(':') && !server.startsWith('[') ? `[${server}]` : server;
      const options = [...(readOnly ? ['ro'] : []), ...(request.bound?.volume.spec?.mountOptions ?? [])];
      try {
        await mounter.mount({ type: 'nfs', source: `${host}:${path}`, target, options }, signal);
      } catch (error) {
        if (!(await isMountPoint(mounter, target))) await removeTree(target);
        throw new VolumeError((error as Error).message, { cause: error });
      }
      return prepared;
    },
  };
}
