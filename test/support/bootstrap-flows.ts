// The FlowSchemas and PriorityLevelConfigurations of a new cluster.
import { readFileSync } from 'node:fs';
import type { FlowSchema, PriorityLevelConfiguration } from '#kube/api/generated/flowcontrol-v1.ts';

const data = new URL('../../control-plane-lite/bootstrap/data/objects.json', import.meta.url);

function* objectsIn(value: unknown): Generator<{ kind?: unknown }> {
  if (typeof value !== 'object' || value === null) return;
  if ('kind' in value && 'metadata' in value) yield value;
  for (const each of Object.values(value)) yield* objectsIn(each);
}

export function loadBootstrapObjects(): { flowSchemas: FlowSchema[]; priorityLevels: PriorityLevelConfiguration[] } {
  const all = [...objectsIn(JSON.parse(readFileSync(data, 'utf8')))];
  return {
    flowSchemas: all.filter(({ kind }) => kind === 'FlowSchema') as FlowSchema[],
    priorityLevels: all.filter(({ kind }) => kind === 'PriorityLevelConfiguration') as PriorityLevelConfiguration[],
  };
}
