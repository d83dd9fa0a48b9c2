// Regular expressions of clients: RE2's syntax, executed in time linear to the text, so that none can hold up the server.
import { setFlagsFromString } from 'node:v8';
import { translateRegExp } from './regexp-syntax.ts';

// The runtime has the engine, and lets it be used where an expression asks for it by the flag `l`.
setFlagsFromString('--enable-experimental-regexp-engine');

const kept = new Map<string, RegExp>();
const keptLimit = 1000;

/** Compiles, or takes a compiled one. Throws Error with RE2's message for what RE2 does not take. */
export function linearRegExp(pattern: string, isGlobal = false): RegExp {
  const key = `${isGlobal ? 'g' : ''}/${pattern}`;
  const known = kept.get(key);
  if (known !== undefined) {
    known.lastIndex = 0;
    return known;
  }
  const source = translateRegExp(pattern);
  let expression: RegExp;
  try {
    expression = new RegExp(source, isGlobal ? 'lg' : 'l');
  } catch (error) {
    throw new Error(`error parsing regexp: expression too large: \`${pattern}\``, { cause: error });
  }
  if (kept.size >= keptLimit) kept.clear();
  kept.set(key, expression);
  return expression;
}
