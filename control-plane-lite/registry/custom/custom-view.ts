// How a version of a custom kind shows what is stored: converted, with the defaults that its schema has now.
import type { KubeObject } from '#kube/api/resource.ts';
import type { StoredEntry } from '../../storage/backend.ts';
import { objectBytes, serialiseAround } from '../../storage/object-bytes.ts';
import { decodeObject } from '../decode-object.ts';
import type { ObjectType } from '../schema.ts';
import type { CustomView } from '../shown-entries.ts';
import type { ConvertObjects } from './convert-objects.ts';
import { defaultCustom, hasDefaults } from './default-custom.ts';
import type { JsonSchema } from './json-schema.ts';

export interface ViewOptions {
  apiVersion: string;
  storedApiVersion: string;
  /** Whether objects may be stored in more than one version. */
  isMixed: boolean;
  schema: JsonSchema;
  type: ObjectType;
  convert: ConvertObjects | undefined;
}

const parse = ({ value }: StoredEntry): KubeObject => JSON.parse(value.toString()) as KubeObject;

export function createCustomView(options: ViewOptions): CustomView {
  const { apiVersion, storedApiVersion, isMixed, schema, type, convert } = options;
  const fillsIn = hasDefaults(schema);
  const converts = isMixed || fillsIn;
  const shown = new WeakMap<StoredEntry, StoredEntry>();

  /** What is not of the version's schema is dropped, what is missing gets its default. */
  const finish = (entry: StoredEntry, object: KubeObject): StoredEntry => {
    decodeObject(object as unknown as Record<string, unknown>, type);
    defaultCustom(object, schema);
    const { head, tail } = serialiseAround(object);
    const done = { key: entry.key, revision: entry.revision, value: objectBytes(head, entry.revision, tail) };
    shown.set(entry, done);
    return done;
  };

  const show = (entries: readonly StoredEntry[]): StoredEntry[] | (() => Promise<StoredEntry[]>) => {
    if (!converts) return [...entries];
    const foreign: { entry: StoredEntry; object: KubeObject }[] = [];
    for (const entry of entries) {
      if (shown.has(entry)) continue;
      const object = parse(entry);
      if (object.apiVersion === apiVersion) {
        if (fillsIn) finish(entry, object);
        else shown.set(entry, entry);
      } else if (convert === undefined) finish(entry, { ...object, apiVersion });
      else foreign.push({ entry, object });
    }
    const all = () => entries.map((entry) => shown.get(entry) ?? entry);
    if (foreign.length === 0 || convert === undefined) return all();
    return async () => {
      for (const [from, group] of Map.groupBy(foreign, ({ object }) => object.apiVersion)) {
        if (from === apiVersion) continue;
        const converted = await convert(
          group.map(({ object }) => object),
          apiVersion,
        );
        for (const [index, { entry }] of group.entries()) {
          const object = converted[index];
          if (object !== undefined) finish(entry, structuredClone(object));
        }
      }
      return all();
    };
  };

  return {
    converts,
    show,
    isCurrent: (entry) => !isMixed || parse(entry).apiVersion === storedApiVersion,
    toStorage: (object) => {
      if (apiVersion === storedApiVersion) return object;
      if (convert === undefined) return { ...object, apiVersion: storedApiVersion };
      return async () => {
        const [converted] = await convert([object], storedApiVersion);
        return converted ?? object;
      };
    },
  };
}
