// The texts with which the reference refuses malformed JSON; clients and tests match on them. The text is scanned
// again only to say where it goes wrong: JSON.parse has already refused it.

const endOfInput = 'unexpected end of JSON input';

function quoted(char: string): string {
  if (char === "'") return `'\\''`;
  return char === '"' ? `'"'` : `'${JSON.stringify(char).slice(1, -1)}'`;
}

/** Walks a text by the grammar and throws a description of the first character that does not belong. */
class Scanner {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  document(): void {
    this.#value();
    if (this.#peek() !== '') this.#refuse('after top-level value');
  }

  #peek(): string {
    while (/\s/.test(this.#text.charAt(this.#at))) this.#at += 1;
    return this.#text.charAt(this.#at);
  }

  #refuse(expectation: string): never {
    const char = this.#text.charAt(this.#at);
    throw new Error(char === '' ? endOfInput : `invalid character ${quoted(char)} ${expectation}`);
  }

  #value(): void {
    const char = this.#peek();
    if (char === '{') this.#object();
    else if (char === '[') this.#array();
    else if (char === '"') this.#string();
    else if (char === 't') this.#literal('true');
    else if (char === 'f') this.#literal('false');
    else if (char === 'n') this.#literal('null');
    else if (/[-0-9]/.test(char)) this.#number();
    else this.#refuse('looking for beginning of value');
  }

  #object(): void {
    this.#at += 1;
    for (let isFirst = true; ; isFirst = false) {
      if (isFirst && this.#peek() === '}') break;
      if (this.#peek() !== '"') this.#refuse('looking for beginning of object key string');
      this.#string();
      if (this.#peek() !== ':') this.#refuse('after object key');
      this.#at += 1;
      this.#value();
      const next = this.#peek();
      if (next === '}') break;
      if (next !== ',') this.#refuse('after object key:value pair');
      this.#at += 1;
    }
    this.#at += 1;
  }

  #array(): void {
    this.#at += 1;
    for (let isFirst = true; ; isFirst = false) {
      if (isFirst && this.#peek() === ']') break;
      this.#value();
      const next = this.#peek();
      if (next === ']') break;
      if (next !== ',') this.#refuse('after array element');
      this.#at += 1;
    }
    this.#at += 1;
  }

  #string(): void {
    for (this.#at += 1; this.#text.charAt(this.#at) !== '"'; this.#at += 1) {
      const char = this.#text.charAt(this.#at);
      if (char === '' || char < ' ') this.#refuse('in string literal');
      if (char !== '\\') continue;
      this.#at += 1;
      if (!'"\\/bfnrtu'.includes(this.#text.charAt(this.#at))) this.#refuse('in string escape code');
    }
    this.#at += 1;
  }

  #literal(word: string): void {
    for (const wanted of word) {
      if (this.#text.charAt(this.#at) !== wanted) this.#refuse(`in literal ${word} (expecting ${quoted(wanted)})`);
      this.#at += 1;
    }
  }

  #number(): void {
    if (this.#text.charAt(this.#at) === '-') this.#at += 1;
    if (!/[0-9]/.test(this.#text.charAt(this.#at))) this.#refuse('in numeric literal');
    while (/[-+.eE0-9]/.test(this.#text.charAt(this.#at))) this.#at += 1;
  }
}

/** What is wrong with a text that JSON.parse refused. */
export function describeJsonError(text: string): string {
  try {
    new Scanner(text).document();
    return 'the text is not JSON';
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
