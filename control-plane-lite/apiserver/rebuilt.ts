// Documents made from the resource table: kept until the table changes.
import type { ResourceTable } from '../registry/resource-table.ts';

/** A function that answers what `build` made for the table as it is now. */
export function rebuilt<T>(table: ResourceTable, build: () => T): () => T {
  let made: { generation: number; value: T } | undefined;
  return () => {
    if (made?.generation !== table.generation) made = { generation: table.generation, value: build() };
    return made.value;
  };
}
