// $(NAME) references in commands, arguments and values, with $$ as the escape.

/** Replaces known references; unknown ones stay as they are written, `$$(NAME)` becomes `$(NAME)`. */
export function expandVariables(text: string, lookup: (name: string) => string | undefined): string {
  return text.replace(/\$(?:\$|\(([^)]*)\))/g, (match, name: string | undefined) => {
    if (name === undefined) return '$';
    return lookup(name) ?? match;
  });
}

/** As `expandVariables`, but an unknown reference is an error, as for subPathExpr. */
export function expandStrictly(text: string, lookup: (name: string) => string | undefined): string {
  return expandVariables(text, (name) => {
    const value = lookup(name);
    if (value === undefined) throw new Error(`missing value for "${name}"`);
    return value;
  });
}
