// Nodes of a test's control plane that pods can be placed on.
import { nodes } from '#kube/api/generated/resources.ts';
import { eventually } from './eventually.ts';
import type { TestControlPlane } from './start-control-plane.ts';

/** Adds nodes and waits until each has no taints and says what it has. */
export async function addUsableNodes(plane: TestControlPlane, names: readonly string[]): Promise<void> {
  for (const name of names) await plane.addNode(name);
  await eventually(
    'usable nodes',
    async () => {
      const { items } = await plane.client.list(nodes);
      const usable = items.filter(
        ({ metadata, spec, status }) =>
          names.includes(metadata.name) &&
          (spec?.taints ?? []).length === 0 &&
          status?.allocatable?.['cpu'] !== undefined,
      );
      return usable.length === names.length ? true : undefined;
    },
    60_000,
  );
}
