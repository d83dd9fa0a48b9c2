// reservedMemory of the configuration: what no container gets on each NUMA node. In all it has to be what the node's
// other reservations come to (pkg/kubelet/cm/memorymanager: validateReservedMemory). Pure.
import {
  addQuantities,
  compareQuantities,
  formatQuantity,
  parseQuantity,
  type Quantity,
  quantityToNumber,
  zeroQuantity,
} from '#kube/api/quantity.ts';
import { UsageError } from '#kube/process/flags.ts';
import type { SystemReservedMemory } from './machine-memory.ts';

/** One entry of the field. */
export interface MemoryReservation {
  numaNode: number;
  limits: Readonly<Record<string, string>>;
}

const isMemory = (resource: string) => resource === 'memory' || resource.startsWith('hugepages-');

/** The share of each node; `reserved` is what the node withholds in all. Throws UsageError. */
export function systemReservedMemory(
  nodes: readonly { id: number }[],
  reserved: ReadonlyMap<string, Quantity>,
  reservations: readonly MemoryReservation[],
): SystemReservedMemory {
  const totals = new Map<string, Quantity>();
  const byNode = new Map(nodes.map(({ id }) => [id, new Map<string, number>()]));
  for (const { numaNode, limits } of reservations) {
    const own = byNode.get(numaNode);
    if (own === undefined) {
      throw new UsageError(
        `the reserved memory configuration references a NUMA node ${numaNode} that does not exist on this machine`,
      );
    }
    for (const [resource, text] of Object.entries(limits)) {
      const amount = parseQuantity(text);
      totals.set(resource, addQuantities(amount, totals.get(resource) ?? zeroQuantity));
      own.set(resource, quantityToNumber(amount));
    }
  }
  const resources = new Set([...totals.keys(), ...[...reserved.keys()].filter(isMemory)]);
  for (const resource of [...resources].sort()) {
    const needed = reserved.get(resource) ?? zeroQuantity;
    const given = totals.get(resource) ?? zeroQuantity;
    if (compareQuantities(needed, given) !== 0) {
      throw new UsageError(
        `the total amount "${formatQuantity(given)}" of type "${resource}" is not equal to the value "${formatQuantity(needed)}" determined by Node Allocatable feature`,
      );
    }
  }
  const memory = [...byNode.values()].reduce((sum, own) => sum + (own.get('memory') ?? 0), 0);
  if (memory <= 0) throw new UsageError('[memorymanager] you should specify the system reserved memory');
  return byNode;
}
