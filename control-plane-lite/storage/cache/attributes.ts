// What selectors look at: labels and a few fields of an object, worked out once per stored value.
import type { StoredEntry } from '../backend.ts';

/** Labels and the selectable fields, by their field path. */
export interface Attributes {
  readonly labels: Readonly<Record<string, string>> | undefined;
  readonly fields: Readonly<Record<string, string>>;
}

/** Reads the attributes of an object of one resource. */
export type AttributesReader = (object: Record<string, unknown>) => Attributes;

/** The attributes of a stored value; parsed only the first time, unless its writer left them there. */
export function attributesOf(entry: StoredEntry, read: AttributesReader): Attributes {
  entry.memo ??= read(JSON.parse(entry.value.toString()) as Record<string, unknown>);
  return entry.memo as Attributes;
}
