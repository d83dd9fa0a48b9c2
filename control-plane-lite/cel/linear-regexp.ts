// Regular expressions of clients: RE2's syntax, executed in time linear to the text, so that none can hold up the server.
import { RE2JS } from 're2js';

const kept = new Map<string, RE2JS>();
/** An expression keeps what it has learnt of texts: memory that clients must not be able to fill. */
const keptLimit = 200;
const maxLength = 50_000;

/** Compiles, or takes a compiled one. Throws Error with RE2's message for what RE2 does not take. */
export function linearRegExp(pattern: string): RE2JS {
  const known = kept.get(pattern);
  if (known !== undefined) return known;
  if (pattern.length > maxLength) throw new Error('error parsing regexp: expression too large');
  const expression = RE2JS.compile(pattern);
  if (kept.size >= keptLimit) kept.clear();
  kept.set(pattern, expression);
  return expression;
}
