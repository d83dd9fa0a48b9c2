// Names of properties as expressions write them: CEL's own words and characters that no name has are escaped.
const reserved = new Set(
  'true false null in as break const continue else for function if import let loop package namespace return var void while'.split(
    ' ',
  ),
);
const escapes: Record<string, string> = { '.': '__dot__', '-': '__dash__', '/': '__slash__' };

/** `a-b` as `a__dash__b`; undefined for names that no expression can write. */
export function escapePropertyName(name: string): string | undefined {
  if (!/^[A-Za-z_.\-/][A-Za-z0-9_.\-/]*$/.test(name)) return undefined;
  if (reserved.has(name)) return `__${name}__`;
  return name.replaceAll('__', '__underscores__').replace(/[.\-/]/g, (character) => escapes[character] ?? character);
}
