// Where a pod's files lie below the agent's root directory. The layout is kubelet's, so that either can take over.
import { join } from 'node:path';

/** The directory of one pod. */
export function podDirectory(rootDir: string, podUid: string): string {
  return join(rootDir, 'pods', podUid);
}

/** The directory of a volume; `plugin` such as kubernetes.io/configmap. */
export function volumeDirectory(rootDir: string, podUid: string, plugin: string, volume: string): string {
  return join(podDirectory(rootDir, podUid), 'volumes', plugin.replace('/', '~'), volume);
}

/** The directory in which a plugin shows the pod's block devices. */
export function deviceDirectory(rootDir: string, podUid: string, plugin: string): string {
  return join(podDirectory(rootDir, podUid), 'volumeDevices', plugin.replace('/', '~'));
}

/** What a plugin remembers about a volume of the pod. */
export function pluginDirectory(rootDir: string, podUid: string, plugin: string, volume: string): string {
  return join(podDirectory(rootDir, podUid), 'plugins', plugin.replace('/', '~'), volume);
}

/** Where a sub path of a volume is bound for one mount of a container. */
export function subPathDirectory(rootDir: string, podUid: string, volume: string, container: string): string {
  return join(podDirectory(rootDir, podUid), 'volume-subpaths', volume, container);
}

/** The directory of a container's termination logs. */
export function containerDirectory(rootDir: string, podUid: string, container: string): string {
  return join(podDirectory(rootDir, podUid), 'containers', container);
}

/** The pod's own /etc/hosts. */
export function hostsFilePath(rootDir: string, podUid: string): string {
  return join(podDirectory(rootDir, podUid), 'etc-hosts');
}
