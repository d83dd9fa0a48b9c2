// A runtime keeps the name of what it is still making for an earlier call, one that was given up or whose answer was
// lost: the same attempt can then not be made again.

/** The id that holds the name a creation wanted; undefined when the error says something else. */
export function holderOfReservedName(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  return /name "[^"]*" is reserved for "([^"]+)"/.exec(error.message.replaceAll('\\"', '"'))?.[1];
}
