// Where a pod's files lie below the agent's root directory. The layout is kubelet's, so that either can take over.
import { join } from 'node:path';
import { VolumeError } from './payload.ts';

/** A name that becomes part of a path. Throws VolumeError for one that would lead elsewhere. */
export function plainName(name: string): string {
  if (name === '' || name === '.' || name === '..' || /[/\0]/.test(name)) {
    throw new VolumeError(`"${name}" cannot be the name of a directory`);
  }
  return name;
}

/** The directory of one pod. */
export function podDirectory(rootDir: string, podUid: string): string {
  return join(rootDir, 'pods', plainName(podUid));
}

/** The directory of a volume; `plugin` such as kubernetes.io/configmap. */
export function volumeDirectory(rootDir: string, podUid: string, plugin: string, volume: string): string {
  return join(podDirectory(rootDir, podUid), 'volumes', plugin.replace('/', '~'), plainName(volume));
}

/** The directory in which a plugin shows the pod's block devices. */
export function deviceDirectory(rootDir: string, podUid: string, plugin: string): string {
  return join(podDirectory(rootDir, podUid), 'volumeDevices', plugin.replace('/', '~'));
}

/** What a plugin remembers about a volume of the pod. */
export function pluginDirectory(rootDir: string, podUid: string, plugin: string, volume: string): string {
  return join(podDirectory(rootDir, podUid), 'plugins', plugin.replace('/', '~'), plainName(volume));
}

/** Where a sub path of a volume is bound for one mount of a container. */
export function subPathDirectory(rootDir: string, podUid: string, volume: string, container: string): string {
  return join(podDirectory(rootDir, podUid), 'volume-subpaths', plainName(volume), plainName(container));
}

/** The directory of a container's termination logs. */
export function containerDirectory(rootDir: string, podUid: string, container: string): string {
  return join(podDirectory(rootDir, podUid), 'containers', plainName(container));
}

/** The pod's own /etc/hosts. */
export function hostsFilePath(rootDir: string, podUid: string): string {
  return join(podDirectory(rootDir, podUid), 'etc-hosts');
}
