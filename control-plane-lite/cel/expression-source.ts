// What Kubernetes' dialect writes and the library's parser does not know is written anew before parsing: objects by
// type (`Object.spec{replicas: 1}`), optional entries (`{?key: value}`) and quoted field names (`self.`a-b``).
import { escapePropertyName } from './property-names.ts';

type Token = { text: string; kind: 'space' | 'string' | 'name' | 'quoted' | 'other' };

const pattern =
  /(?<space>\s+|\/\/[^\n]*)|(?<string>[bB]?[rR]?(?:"""(?:[^\\]|\\.)*?"""|'''(?:[^\\]|\\.)*?'''|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'))|(?<name>[A-Za-z_][A-Za-z0-9_]*)|(?<quoted>`[A-Za-z0-9_.\-/ ]+`)|(?<other>[\s\S])/gu;

function tokensOf(source: string): Token[] {
  return [...source.matchAll(pattern)].map(({ groups = {}, 0: text }) => {
    const kind = (['space', 'string', 'name', 'quoted'] as const).find((each) => groups[each] !== undefined) ?? 'other';
    return { text, kind };
  });
}

class Rewriter {
  readonly #tokens: Token[];
  #index = 0;
  #depth = 0;

  constructor(source: string) {
    this.#tokens = tokensOf(source);
  }

  run(): string {
    let text = '';
    while (this.#index < this.#tokens.length) text += this.#one();
    return text;
  }

  #peek(offset = 0): Token | undefined {
    return this.#tokens[this.#index + offset];
  }

  #take(): string {
    const token = this.#tokens[this.#index];
    this.#index += 1;
    return token?.text ?? '';
  }

  #spaces(): string {
    let text = '';
    while (this.#peek()?.kind === 'space') text += this.#take();
    return text;
  }

  #one(): string {
    const token = this.#peek();
    if (token?.kind === 'quoted') return escapePropertyName(this.#take().slice(1, -1)) ?? '``';
    if (token?.kind === 'name') return this.#name();
    if (token?.text === '{' || token?.text === '[') return this.#bracketed(token.text, undefined);
    return this.#take();
  }

  /** A path of names; before a brace it is the type of an object. */
  #name(): string {
    let path = this.#take();
    for (;;) {
      if (this.#peek()?.text === '.' && this.#peek(1)?.kind === 'name') path += this.#take() + this.#take();
      else break;
    }
    if (this.#peek()?.text !== '{' || path === 'in') return path;
    return this.#bracketed('{', path);
  }

  /** A map, list, index or object; entries marked by a question mark are put in only where they have a value. */
  #bracketed(open: '{' | '[', typeName: string | undefined): string {
    this.#depth += 1;
    if (this.#depth > 100) throw new RangeError('expression recursion limit exceeded');
    this.#take();
    const close = open === '{' ? '}' : ']';
    const isIndex = open === '[' && this.#isIndex();
    const optional: string[] = [];
    let body = '';
    let entry = '';
    let isMarked = false;
    let isStart = true;
    const flush = (separator: string) => {
      if (isMarked) optional.push(entry);
      else body += entry + separator;
      entry = '';
      isMarked = false;
      isStart = true;
    };
    while (this.#index < this.#tokens.length && this.#peek()?.text !== close) {
      if (isStart) {
        entry += this.#spaces();
        if (!isIndex && this.#peek()?.text === '?') {
          this.#take();
          isMarked = true;
          entry += this.#spaces();
        }
        const isField = this.#peek()?.kind === 'name' || this.#peek()?.kind === 'quoted';
        if (typeName !== undefined && isField) entry += JSON.stringify(this.#take().replaceAll('`', ''));
        isStart = false;
        continue;
      }
      if (this.#peek()?.text === ',') {
        this.#take();
        flush(',');
      } else entry += this.#one();
    }
    flush('');
    const end = this.#take();
    this.#depth -= 1;
    const plain = `${open}${body}${end}`;
    const withOptional =
      optional.length === 0
        ? plain
        : open === '{'
          ? `withOptionalEntries(${plain}, {${optional.join(',')}})`
          : `withOptionalItems(${plain}, [${optional.join(',')}])`;
    return typeName === undefined ? withOptional : `newObject(${JSON.stringify(typeName)}, ${withOptional})`;
  }

  /** Whether the bracket just taken indexes what stands before it. */
  #isIndex(): boolean {
    const before = this.#tokens[this.#index - 2];
    return before !== undefined && (before.kind === 'name' || before.kind === 'quoted' || /[)\]}]/.test(before.text));
  }
}

/** The expression as the parser takes it; unchanged where nothing needs it. */
export function rewriteExpression(source: string): string {
  return /[`{]|\[\s*\?|,\s*\?/.test(source) ? new Rewriter(source).run() : source;
}
