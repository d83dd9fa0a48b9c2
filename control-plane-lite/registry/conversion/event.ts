// Events between the core form, which is stored, and events.k8s.io/v1.
import type { KubeObject } from '#kube/api/resource.ts';

type Fields = KubeObject & Record<string, unknown>;

// Names that differ, core form first.
const renamed: readonly (readonly [string, string])[] = [
  ['involvedObject', 'regarding'],
  ['message', 'note'],
  ['source', 'deprecatedSource'],
  ['firstTimestamp', 'deprecatedFirstTimestamp'],
  ['lastTimestamp', 'deprecatedLastTimestamp'],
  ['count', 'deprecatedCount'],
  ['reportingComponent', 'reportingController'],
];

function rename(object: KubeObject, from: 0 | 1, apiVersion: string): KubeObject {
  const result: Fields = { ...object };
  for (const pair of renamed) {
    const value = result[pair[from]];
    delete result[pair[from]];
    if (value !== undefined) result[pair[from === 0 ? 1 : 0]] = value;
  }
  result.apiVersion = apiVersion;
  return result;
}

export const eventToCore = (object: KubeObject): KubeObject => {
  const event = rename(object, 1, 'v1') as Fields;
  event['involvedObject'] ??= {};
  return event;
};

export const eventFromCore = (object: KubeObject): KubeObject => rename(object, 0, 'events.k8s.io/v1');
