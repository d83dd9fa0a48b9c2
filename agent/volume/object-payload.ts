// ConfigMaps, Secrets and downward API items as files. Pure.
import type { ConfigMap, DownwardAPIVolumeFile, KeyToPath, Pod, Secret } from '#kube/api/generated/core-v1.ts';
import { type DownwardSettings, fieldValue, resourceValue } from '../container/downward-value.ts';
import { type Payload, VolumeError } from './payload.ts';

/** Which keys of an object become which files. */
export interface ProjectionOptions {
  items: readonly KeyToPath[] | undefined;
  defaultMode: number;
  optional: boolean;
}

function project(contents: Map<string, Buffer>, options: ProjectionOptions, missing: (key: string) => string): Payload {
  const payload: Payload = new Map();
  if (options.items === undefined || options.items.length === 0) {
    for (const [key, content] of contents) payload.set(key, { content, mode: options.defaultMode });
    return payload;
  }
  for (const { key, path, mode } of options.items) {
    const content = contents.get(key);
    if (content !== undefined) payload.set(path, { content, mode: mode ?? options.defaultMode });
    else if (!options.optional) throw new VolumeError(missing(key));
  }
  return payload;
}

/** Files of a ConfigMap. Throws VolumeError for a key that is not there. */
export function configMapPayload(configMap: ConfigMap | undefined, options: ProjectionOptions): Payload {
  const contents = new Map<string, Buffer>();
  for (const [key, text] of Object.entries(configMap?.data ?? {})) contents.set(key, Buffer.from(text));
  for (const [key, text] of Object.entries(configMap?.binaryData ?? {})) contents.set(key, Buffer.from(text, 'base64'));
  return project(contents, options, (key) => `configmap references non-existent config key: ${key}`);
}

/** Files of a Secret. Throws VolumeError for a key that is not there. */
export function secretPayload(secret: Secret | undefined, options: ProjectionOptions): Payload {
  const contents = new Map<string, Buffer>();
  for (const [key, text] of Object.entries(secret?.data ?? {})) contents.set(key, Buffer.from(text, 'base64'));
  return project(contents, options, (key) => `references non-existent secret key: ${key}`);
}

/** Files of downward API items. */
export function downwardPayload(
  pod: Pod,
  items: readonly DownwardAPIVolumeFile[],
  defaultMode: number,
  settings: DownwardSettings,
): Payload {
  const payload: Payload = new Map();
  for (const { path, mode, fieldRef, resourceFieldRef } of items) {
    const [first] = pod.spec.containers;
    let text = '';
    try {
      if (fieldRef !== undefined) text = fieldValue(pod, fieldRef, settings);
      else if (resourceFieldRef !== undefined && first !== undefined) {
        text = resourceValue(pod, first, resourceFieldRef, settings);
      }
    } catch (error) {
      throw new VolumeError((error as Error).message, { cause: error });
    }
    payload.set(path, { content: Buffer.from(text), mode: mode ?? defaultMode });
  }
  return payload;
}
