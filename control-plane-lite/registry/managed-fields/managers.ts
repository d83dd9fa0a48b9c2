// metadata.managedFields as a list of managers with their sets, and back.
import type { ManagedFieldsEntry } from '#kube/api/generated/meta-v1.ts';
import type { KubeObject } from '#kube/api/resource.ts';
import { emptySet, equalSets, type FieldSet, fromFieldsV1, isEmpty, toFieldsV1 } from './field-set.ts';

export interface Manager {
  name: string;
  operation: 'Apply' | 'Update';
  apiVersion: string;
  subresource: string;
  time: string | undefined;
  set: FieldSet;
}

export type ManagerIdentity = Pick<Manager, 'name' | 'operation' | 'apiVersion' | 'subresource'>;

/** Appliers are one manager whatever version they speak. */
export function isSameManager(a: ManagerIdentity, b: ManagerIdentity): boolean {
  return (
    a.name === b.name &&
    a.operation === b.operation &&
    a.subresource === b.subresource &&
    (a.operation === 'Apply' || a.apiVersion === b.apiVersion)
  );
}

/** Reads the managers of an object; entries that are not of the known form are dropped. */
export function readManagers(object: KubeObject): Manager[] {
  return (object.metadata.managedFields ?? []).flatMap((entry): Manager[] => {
    const { operation } = entry;
    if (operation !== 'Apply' && operation !== 'Update') return [];
    return [
      {
        name: entry.manager ?? '',
        operation,
        apiVersion: entry.apiVersion ?? '',
        subresource: entry.subresource ?? '',
        time: entry.time,
        set: fromFieldsV1(entry.fieldsV1),
      },
    ];
  });
}

/** Writes managers to the object: appliers first, then by time and name; empty ones are left out. */
export function writeManagers(object: KubeObject, managers: readonly Manager[]): void {
  const sorted = managers
    .filter(({ set }) => !isEmpty(set))
    .sort((a, b) => {
      if (a.operation !== b.operation) return a.operation === 'Apply' ? -1 : 1;
      const [timeA, timeB] = [a.time ?? '', b.time ?? ''];
      if (timeA !== timeB) return timeA < timeB ? -1 : 1;
      return a.name < b.name ? -1 : a.name > b.name ? 1 : 0;
    });
  const entries = sorted.map(
    (manager): ManagedFieldsEntry => ({
      manager: manager.name,
      operation: manager.operation,
      apiVersion: manager.apiVersion,
      ...(manager.time === undefined ? {} : { time: manager.time }),
      fieldsType: 'FieldsV1',
      fieldsV1: toFieldsV1(manager.set),
      ...(manager.subresource === '' ? {} : { subresource: manager.subresource }),
    }),
  );
  if (entries.length === 0) delete object.metadata.managedFields;
  else object.metadata.managedFields = entries;
}

/** The manager with an identity, with its time renewed when its set changes. */
export function replaceSet(managers: Manager[], identity: ManagerIdentity, set: FieldSet, time: string): Manager[] {
  const others = managers.filter((manager) => !isSameManager(manager, identity));
  const existing = managers.find((manager) => isSameManager(manager, identity));
  const isSame = existing !== undefined && equalSets(existing.set, set) && existing.apiVersion === identity.apiVersion;
  return [...others, isSame ? existing : { ...identity, time, set }];
}

export function setOf(managers: readonly Manager[], identity: ManagerIdentity): FieldSet {
  return managers.find((manager) => isSameManager(manager, identity))?.set ?? emptySet();
}
