// Ranges of user and group ids for pods with a user namespace of their own. A range is kept in a file of the pod, in
// kubelet's format, so that a restart gives it to no other pod (pkg/kubelet/userns).
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Pod } from '#kube/api/generated/core-v1.ts';
import type { IDMapping } from '#proto/generated/cri/runtime/v1/IDMapping.ts';
import type { UserNamespace } from '#proto/generated/cri/runtime/v1/UserNamespace.ts';

/** As many as a pod needs to have all ids that images use; ranges begin at multiples of it. */
const leastIds = 65_536;
const fileName = 'userns';

export interface UserNamespacesOptions {
  /** The agent's directory, which holds those of the pods. */
  rootDir: string;
  maxPods: number;
  /** userNamespaces.idsPerPod: a multiple of 65536, which it is where absent. */
  idsPerPod?: number | undefined;
  /** Whether the runtime's handler can give pods user namespaces; an empty name is the default handler. */
  isSupported(handler: string): boolean;
}

export interface UserNamespaces {
  /** Undefined for pods that share the node's. Throws where the runtime cannot do what the pod asks for. */
  of(pod: Pod, handler: string): Promise<UserNamespace | undefined>;
  release(podUid: string): void;
}

/** Ids of the node that a pod has. */
interface IdRange {
  first: number;
  count: number;
}

function rangeOf(text: string): IdRange | undefined {
  try {
    const decoded = JSON.parse(text) as { uidMappings?: { hostId?: unknown; length?: unknown }[] };
    const { hostId, length } = decoded.uidMappings?.[0] ?? {};
    if (typeof hostId !== 'number' || typeof length !== 'number') return undefined;
    return hostId % leastIds === 0 && length > 0 ? { first: hostId, count: length } : undefined;
  } catch {
    // Cut short while it was written: the pod has not started with it.
    return undefined;
  }
}

/** The lowest range that no pod has any of; before the first are the node's own users. */
function freeRange(taken: readonly IdRange[], count: number, maxPods: number): IdRange | undefined {
  for (let block = 1; block <= maxPods; block += 1) {
    const first = block * count;
    if (taken.every((other) => first + count <= other.first || other.first + other.count <= first)) {
      return { first, count };
    }
  }
  return undefined;
}

/** Creates the allocator; the ranges of pods on disk are read when one is first needed. */
export function createUserNamespaces(options: UserNamespacesOptions): UserNamespaces {
  const podsDir = join(options.rootDir, 'pods');
  const ranges = new Map<string, IdRange>();
  const { idsPerPod = leastIds } = options;
  let loaded: Promise<void> | undefined;

  async function load(): Promise<void> {
    for (const uid of await readdir(podsDir).catch(() => [])) {
      const text = await readFile(join(podsDir, uid, fileName), 'utf8').catch(() => '');
      const range = rangeOf(text);
      if (range !== undefined) ranges.set(uid, range);
    }
  }

  return {
    async of(pod, handler) {
      if (pod.spec.hostUsers !== false) return undefined;
      if (!options.isSupported(handler)) {
        const who = handler === '' ? 'runtime' : `RuntimeClass handler "${handler}"`;
        throw new Error(`can't set \`spec.hostUsers: false\`, ${who} does not support user namespaces`);
      }
      loaded ??= load();
      await loaded;
      const uid = pod.metadata.uid ?? '';
      const known = ranges.get(uid);
      const range = known ?? freeRange([...ranges.values()], idsPerPod, options.maxPods);
      if (range === undefined) throw new Error('no range of user ids is left for another pod');
      ranges.set(uid, range);
      const mapping: IDMapping = { hostId: range.first, containerId: 0, length: range.count };
      if (known === undefined) {
        const path = join(podsDir, uid, fileName);
        await mkdir(dirname(path), { recursive: true, mode: 0o750 });
        await writeFile(path, JSON.stringify({ uidMappings: [mapping], gidMappings: [mapping] }), { mode: 0o600 });
      }
      return { mode: 'POD', uids: [mapping], gids: [mapping] };
    },
    release: (podUid) => void ranges.delete(podUid),
  };
}
