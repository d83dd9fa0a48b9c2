// Which kinds of persistent volumes take mount options.
import { VolumeError } from './payload.ts';
import type { VolumeRequest } from './volume-kind.ts';

const withoutOptions = new Set(['kubernetes.io/host-path']);

/** Throws for options that nothing would apply. */
export function checkMountOptions({ bound }: VolumeRequest, plugin: string): void {
  if ((bound?.volume.spec?.mountOptions ?? []).length === 0 || !withoutOptions.has(plugin)) return;
  const step = 'MountVolume.MountOptionSupport check failed';
  throw new VolumeError('Mount options are not supported for this volume type', { step });
}
