// Where container logs lie on disk; the layout is a contract with log collectors.
import { join } from 'node:path';

/** The directory of one pod's logs. */
export function podLogsDirectory(root: string, namespace: string, name: string, uid: string): string {
  return join(root, `${namespace}_${name}_${uid}`);
}

/** The file of one run of a container, relative to the pod's directory. */
export function containerLogPath(containerName: string, restartCount: number): string {
  return `${containerName}/${restartCount}.log`;
}

/** The name of the link below /var/log/containers that older collectors follow. */
export function legacyLogLink(podName: string, namespace: string, containerName: string, containerId: string): string {
  return `${podName}_${namespace}_${containerName}-${containerId}.log`;
}
