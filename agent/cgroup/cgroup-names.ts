// Names of the cgroups of pods, for both cgroup drivers (pkg/kubelet/cm/cgroup_manager_linux.go).
import type { QosClass } from '#kube/api/pod-qos.ts';

export type CgroupDriver = 'cgroupfs' | 'systemd';

/** A name as its parts from the root, for example ['kubepods', 'burstable', 'pod1234']. */
export type CgroupName = readonly string[];

/** The parts below the configured root of all pods, of a class, or of one pod. */
export function qosCgroup(root: CgroupName, qos: QosClass): CgroupName {
  const kubepods = [...root, 'kubepods'];
  return qos === 'Guaranteed' ? kubepods : [...kubepods, qos.toLowerCase()];
}

export function podCgroup(root: CgroupName, qos: QosClass, podUid: string): CgroupName {
  return [...qosCgroup(root, qos), `pod${podUid}`];
}

/** The parts of a configured cgroup root such as / or /node-a. */
export function parseCgroupRoot(text: string): CgroupName {
  return text.split('/').filter((part) => part !== '');
}

/** The path below the hierarchy's root. systemd repeats the parents in each slice's name. */
export function cgroupPath(name: CgroupName, driver: CgroupDriver): string {
  if (driver === 'cgroupfs') return `/${name.join('/')}`;
  const parts = name.map((part) => part.replaceAll('-', '_'));
  return `/${parts.map((_, index) => `${parts.slice(0, index + 1).join('-')}.slice`).join('/')}`;
}

/** What the runtime is told as parent: the path, or the name of the slice. */
export function cgroupParent(name: CgroupName, driver: CgroupDriver): string {
  const path = cgroupPath(name, driver);
  return driver === 'cgroupfs' ? path : path.slice(path.lastIndexOf('/') + 1);
}

/** The pod uid in the last part of a cgroup's path, where it is a pod's. */
export function podUidOfCgroup(entry: string): string | undefined {
  const match = /(?:^|-)pod([0-9a-f_-]{8,})(?:\.slice)?$/.exec(entry);
  return match?.[1]?.replaceAll('_', '-');
}
