// The texts with which the reference refuses malformed JSON; clients and tests match on them.

const literals: Record<string, string> = { n: 'null', t: 'true', f: 'false' };

function quoted(char: string): string {
  if (char === "'") return `'\\''`;
  return char === '"' ? `'"'` : `'${JSON.stringify(char).slice(1, -1)}'`;
}

/** What is wrong with a text that JSON.parse refused. */
export function describeJsonError(text: string, error: unknown): string {
  const trimmed = text.trimStart();
  if (trimmed === '') return 'unexpected end of JSON input';
  const message = error instanceof Error ? error.message : '';
  if (/end of JSON input|Unterminated/.test(message)) return 'unexpected end of JSON input';
  const position = /position (\d+)/.exec(message)?.[1];
  const at = position === undefined ? text.length - trimmed.length : Number(position);
  const literal = literals[text.charAt(at)];
  if (literal !== undefined) {
    for (let index = 1; index < literal.length; index += 1) {
      const char = text.charAt(at + index);
      if (char === '') return 'unexpected end of JSON input';
      if (char !== literal.charAt(index)) {
        return `invalid character ${quoted(char)} in literal ${literal} (expecting ${quoted(literal.charAt(index))})`;
      }
    }
  }
  const previous = text.slice(0, at).trimEnd().at(-1);
  const expectation =
    previous === '{' || (previous === ',' && /[{,]\s*"[^"]*"\s*:[^{]*$/.test(text.slice(0, at)))
      ? 'looking for beginning of object key string'
      : previous === undefined || previous === ':' || previous === '[' || previous === ','
        ? 'looking for beginning of value'
        : 'after object key:value pair';
  return `invalid character ${quoted(text.charAt(at))} ${expectation}`;
}
