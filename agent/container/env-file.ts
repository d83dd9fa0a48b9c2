// Files of variables that a pod's own containers write (KEP-3721): one variable a line, its value in single quotes,
// which may span lines. What stands in the quotes is taken literally.

/** Longer lines, and larger files, are refused: a container writes them. */
const maxLineBytes = 64 * 1024;

/** A file that does not follow the format; the message names the line. */
export class EnvFileError extends Error {
  readonly code = 'ENV_FILE';

  constructor(message: string) {
    super(message);
    this.name = 'EnvFileError';
  }
}

function fault(line: number, what: string): EnvFileError {
  return new EnvFileError(`invalid environment variable format at line ${line}: ${what}`);
}

/** The end of a quoted value that begins on line `index`: its text, and the line it ends on. */
function quoted(lines: readonly string[], index: number, opening: string): { value: string; last: number } {
  let value = '';
  let rest = opening;
  for (let last = index; ; last += 1) {
    const end = rest.indexOf("'");
    if (end >= 0) {
      const after = rest.slice(end + 1).replace(/^[ \t]+/, '');
      if (after !== '' && !after.startsWith('#')) throw fault(last + 1, 'unexpected content after closing quote');
      return { value: value + rest.slice(0, end), last };
    }
    value += `${rest}\n`;
    const next = lines[last + 1];
    if (next === undefined) {
      throw new EnvFileError(
        `invalid environment variable format starting at line ${index + 1}: unclosed single quote`,
      );
    }
    rest = next;
  }
}

/** The value of `key`, empty where the file does not set it. Throws EnvFileError at the first line that is wrong. */
export function parseEnvFile(text: string, key: string): string {
  const lines = text.split('\n').map((line) => line.replace(/\r$/, ''));
  if (lines.at(-1) === '') lines.pop();
  for (let index = 0; index < lines.length; index += 1) {
    const line = (lines[index] ?? '').replace(/^[ \t]+/, '');
    if (line.length > maxLineBytes) throw fault(index + 1, 'the line is too long');
    if (line === '' || line.startsWith('#')) continue;
    const equals = line.indexOf('=');
    if (equals < 0) throw fault(index + 1, "missing '='");
    const name = line.slice(0, equals);
    if (name.trimEnd() === '') throw fault(index + 1, 'empty variable name');
    if (/[ \t]$/.test(name)) throw fault(index + 1, "whitespace before '=' is not allowed");
    const text = line.slice(equals + 1);
    if (/^[ \t]/.test(text)) {
      // As in a shell: what follows the blank is no part of the value.
      if (name === key) return '';
      continue;
    }
    if (!text.startsWith("'")) throw fault(index + 1, 'value must be enclosed in single quotes');
    const { value, last } = quoted(lines, index, text.slice(1));
    if (name === key) return value;
    index = last;
  }
  return '';
}
