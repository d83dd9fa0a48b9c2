// What an aggregated server says of itself: the resources of a group version, and its OpenAPI documents. Pure.
import type { DiscoveredResource } from '../../registry/resource-table.ts';

type Json = Record<string, unknown>;

function parsed(text: string): Json | undefined {
  try {
    const value = JSON.parse(text) as unknown;
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Json) : undefined;
  } catch {
    return undefined;
  }
}

const strings = (value: unknown): string[] =>
  Array.isArray(value) ? value.filter((each) => typeof each === 'string') : [];

/** The entries of an APIResourceList; undefined for a text that is none. Nothing is taken that is not as it should be. */
export function parseResourceList(text: string): DiscoveredResource[] | undefined {
  const list = parsed(text);
  if (list?.['kind'] !== 'APIResourceList' || !Array.isArray(list['resources'])) return undefined;
  return list['resources'].flatMap((each: unknown): DiscoveredResource[] => {
    const { name, kind, namespaced, singularName, verbs, shortNames, categories, group, version } = (each ??
      {}) as Json;
    if (typeof name !== 'string' || typeof kind !== 'string') return [];
    return [
      {
        name,
        kind,
        singularName: typeof singularName === 'string' ? singularName : '',
        namespaced: namespaced === true,
        verbs: strings(verbs),
        ...(Array.isArray(shortNames) ? { shortNames: strings(shortNames) } : {}),
        ...(Array.isArray(categories) ? { categories: strings(categories) } : {}),
        ...(typeof group === 'string' ? { group } : {}),
        ...(typeof version === 'string' ? { version } : {}),
      },
    ];
  });
}

/** The address of a group version's document in an OpenAPI v3 index; undefined when it is not in there. */
export function openApiUrlOf(text: string, groupVersion: string): string | undefined {
  const paths = parsed(text)?.['paths'] as Record<string, { serverRelativeURL?: unknown }> | undefined;
  const url = paths?.[`apis/${groupVersion}`]?.serverRelativeURL;
  return typeof url === 'string' && url.startsWith('/openapi/v3/') ? url : undefined;
}

export interface OpenApiV2 {
  definitions: Json;
  paths: Json;
}

/** Definitions and paths of an OpenAPI v2 document. */
export function parseOpenApiV2(text: string): OpenApiV2 | undefined {
  const document = parsed(text);
  const [definitions, paths] = [document?.['definitions'], document?.['paths']];
  if (typeof definitions !== 'object' || definitions === null) return undefined;
  return { definitions: definitions as Json, paths: (paths ?? {}) as Json };
}
