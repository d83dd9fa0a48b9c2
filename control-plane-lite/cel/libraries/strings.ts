// Strings: the extended string library, and regular expressions in RE2's syntax.
import { type Environment, EvaluationError } from '@marcbachmann/cel-js';
import type { RE2JS } from 're2js';
import { addFunctions } from '../function-table.ts';
import { linearRegExp } from '../linear-regexp.ts';
import { formatText } from './format-text.ts';

function compile(pattern: string): RE2JS {
  try {
    return linearRegExp(pattern);
  } catch (error) {
    throw new EvaluationError(error instanceof Error ? error.message : String(error));
  }
}

function charAt(text: string, index: bigint): string {
  const characters = [...text];
  if (index < 0n || index > BigInt(characters.length)) throw new EvaluationError(`index out of range: ${index}`);
  return characters[Number(index)] ?? '';
}

const maxReplaced = 4_000_000;

function replace(text: string, from: string, to: string, limit: bigint): string {
  if (limit === 0n) return text;
  const parts = text.split(from);
  const count = limit < 0n ? parts.length - 1 : Math.min(Number(limit), parts.length - 1);
  if (text.length + count * to.length > maxReplaced) throw new EvaluationError('replace: the result is too long');
  const tail = parts.slice(count).join(from);
  return [...parts.slice(0, count), tail].join(to);
}

function findAll(text: string, pattern: string, limit: bigint): string[] {
  const found: string[] = [];
  if (limit === 0n) return found;
  for (const [match] of compile(pattern).matchAll(text)) {
    found.push(match);
    if (limit > 0n && BigInt(found.length) >= limit) break;
  }
  return found;
}

const escapes: Record<string, string> = {
  '\x07': '\\a',
  '\b': '\\b',
  '\f': '\\f',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
  '\v': '\\v',
  '\\': '\\\\',
  '"': '\\"',
};

/** The namespace `strings` of `strings.quote`. */
export class StringsNamespace {}

export function addStrings(environment: Environment): void {
  environment.registerType('StringsNamespace', StringsNamespace);
  environment.registerConstant('strings', 'StringsNamespace', new StringsNamespace());
  addFunctions(environment, {
    'StringsNamespace.quote(string): string': (_: StringsNamespace, text: string) =>
      `"${[...text].map((each) => escapes[each] ?? each).join('')}"`,
    'string.linearMatches(string): bool': (text: string, pattern: string) => compile(pattern).test(text),
    'linearMatches(string, string): bool': (text: string, pattern: string) => compile(pattern).test(text),
    'string.find(string): string': (text: string, pattern: string) => findAll(text, pattern, 1n)[0] ?? '',
    'string.findAll(string): list<string>': (text: string, pattern: string) => findAll(text, pattern, -1n),
    'string.findAll(string, int): list<string>': findAll,
    'string.charAt(int): string': charAt,
    'string.reverse(): string': (text: string) => [...text].reverse().join(''),
    'string.replace(string, string): string': (text: string, from: string, to: string) => replace(text, from, to, -1n),
    'string.replace(string, string, int): string': replace,
    'string.format(list): string': formatText,
  });
}
