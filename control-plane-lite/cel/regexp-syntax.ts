// Reads regular expressions in RE2's syntax and writes them for the linear engine of the runtime, which has no flags,
// no large repetition counts and knows code units only. What RE2 does not take (references, look-around) is refused.

/** Message and cause as RE2 words them. */
export class RegExpSyntaxError extends Error {
  constructor(problem: string, part: string) {
    super(`error parsing regexp: ${problem}: \`${part}\``);
  }
}

interface Flags {
  ignoreCase: boolean;
  multiline: boolean;
  dotAll: boolean;
  ungreedy: boolean;
}

const perlClasses: Record<string, string> = { d: '0-9', w: '0-9A-Za-z_', s: '\\t\\n\\f\\r ' };
const posixClasses: Record<string, string> = {
  alnum: '0-9A-Za-z',
  alpha: 'A-Za-z',
  ascii: '\\x00-\\x7f',
  blank: '\\t ',
  cntrl: '\\x00-\\x1f\\x7f',
  digit: '0-9',
  graph: '!-~',
  lower: 'a-z',
  print: ' -~',
  punct: '!-\\/:-@\\[-`{-~',
  space: '\\t\\n\\v\\f\\r ',
  upper: 'A-Z',
  word: '0-9A-Za-z_',
  xdigit: '0-9A-Fa-f',
};
// The letters that names in clusters are written with; whole Unicode categories are too large for the linear engine.
const unicodeClasses: Record<string, string> = {
  L: 'A-Za-z\\xaa\\xb5\\xba\\xc0-\\xd6\\xd8-\\xf6\\xf8-\\u02c1\\u0370-\\u0373\\u0376-\\u037d\\u0386-\\u0481\\u048a-\\u0556\\u0561-\\u0587\\u05d0-\\u05ea\\u0620-\\u064a\\u0904-\\u0939\\u0e01-\\u0e30\\u10a0-\\u10ff\\u1e00-\\u1fff\\u3041-\\u30ff\\u3400-\\u4dbf\\u4e00-\\u9fff\\uac00-\\ud7a3',
  Lu: 'A-Z\\xc0-\\xd6\\xd8-\\xde\\u0386\\u0388-\\u038f\\u0391-\\u03ab\\u0400-\\u042f',
  Ll: 'a-z\\xb5\\xdf-\\xf6\\xf8-\\xff\\u03ac-\\u03ce\\u0430-\\u045f',
  N: '0-9\\xb2\\xb3\\xb9\\xbc-\\xbe\\u0660-\\u0669\\u0966-\\u096f',
  Nd: '0-9\\u0660-\\u0669\\u0966-\\u096f',
  P: '!-#%-*,-\\/:;?@\\[-\\]_{}\\xa1\\xa7\\xab\\xb6\\xb7\\xbb\\xbf\\u2010-\\u2027\\u3001-\\u3003',
  Z: ' \\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000',
};
const controlEscapes: Record<string, string> = { a: '\\x07', f: '\\f', n: '\\n', r: '\\r', t: '\\t', v: '\\v' };
const astral = '[\\ud800-\\udbff][\\udc00-\\udfff]';
const maxRepeat = 1000;
const maxLength = 200_000;

function escapeUnit(code: number): string {
  return `\\u${code.toString(16).padStart(4, '0')}`;
}

function escapeLiteral(character: string): string {
  return [...Array(character.length).keys()].map((index) => escapeUnit(character.charCodeAt(index))).join('');
}

/** One reading of one pattern. */
class Translation {
  readonly #pattern: string;
  #position = 0;
  #flags: Flags = { ignoreCase: false, multiline: false, dotAll: false, ungreedy: false };
  #depth = 0;

  constructor(pattern: string) {
    this.#pattern = pattern;
  }

  run(): string {
    const source = this.#alternatives();
    if (this.#position < this.#pattern.length) throw new RegExpSyntaxError('unexpected )', this.#pattern);
    return source;
  }

  #peek(text: string): boolean {
    return this.#pattern.startsWith(text, this.#position);
  }

  #take(text: string): boolean {
    if (!this.#peek(text)) return false;
    this.#position += text.length;
    return true;
  }

  #next(): string {
    const character = String.fromCodePoint(this.#pattern.codePointAt(this.#position) ?? 0);
    this.#position += character.length;
    return character;
  }

  #alternatives(): string {
    this.#depth += 1;
    if (this.#depth > 250) throw new RegExpSyntaxError('expression nests too deeply', this.#pattern);
    const outer = { ...this.#flags };
    const branches: string[] = [];
    do {
      let branch = '';
      while (this.#position < this.#pattern.length && !this.#peek('|') && !this.#peek(')')) {
        branch += this.#repeated();
        if (branch.length > maxLength) throw new RegExpSyntaxError('expression too large', this.#pattern);
      }
      branches.push(branch);
    } while (this.#take('|'));
    this.#flags = outer;
    this.#depth -= 1;
    return branches.join('|');
  }

  #repeated(): string {
    const start = this.#position;
    let atom = this.#atom();
    let isRepeated = false;
    for (;;) {
      const operator = this.#repetition();
      if (operator === undefined) return atom;
      if (atom === '' || isRepeated) {
        const problem = isRepeated ? 'invalid nested repetition operator' : 'missing argument to repetition operator';
        throw new RegExpSyntaxError(problem, this.#pattern.slice(start, this.#position));
      }
      isRepeated = true;
      const lazy = this.#take('?') !== this.#flags.ungreedy ? '?' : '';
      const unit = `(?:${atom})`;
      const { min, max } = operator;
      if (max === undefined && min <= 1) atom = `${unit}${min === 0 ? '*' : '+'}${lazy}`;
      else if (max === 1 && min === 0) atom = `${unit}?${lazy}`;
      else {
        const rest = max === undefined ? `${unit}*${lazy}` : `${unit}?${lazy}`.repeat(max - min);
        if (unit.length * (max ?? min) > maxLength) throw new RegExpSyntaxError('expression too large', this.#pattern);
        atom = `(?:${unit.repeat(min)}${rest})`;
      }
    }
  }

  #repetition(): { min: number; max: number | undefined } | undefined {
    if (this.#take('*')) return { min: 0, max: undefined };
    if (this.#take('+')) return { min: 1, max: undefined };
    if (this.#take('?')) return { min: 0, max: 1 };
    const match = /^\{(\d+)(,(\d*))?\}/.exec(this.#pattern.slice(this.#position, this.#position + 24));
    if (match === null) return undefined;
    this.#position += match[0].length;
    const min = Number(match[1]);
    const max = match[2] === undefined ? min : match[3] === '' ? undefined : Number(match[3]);
    if (min > maxRepeat || (max ?? 0) > maxRepeat || (max !== undefined && max < min)) {
      throw new RegExpSyntaxError('invalid repeat count', match[0]);
    }
    return { min, max };
  }

  #atom(): string {
    if (this.#take('(')) return this.#group();
    if (this.#take('[')) return this.#characterClass();
    if (this.#take('\\')) return this.#escape();
    if (this.#take('.')) return this.#flags.dotAll ? `(?:${astral}|[\\s\\S])` : `(?:${astral}|[^\\n])`;
    if (this.#take('^')) return this.#flags.multiline ? this.#lineAnchor() : '^';
    if (this.#take('$')) return this.#flags.multiline ? this.#lineAnchor() : '$';
    if (this.#peek('*') || this.#peek('+') || this.#peek('?')) return '';
    return this.#literal(this.#next());
  }

  #lineAnchor(): never {
    throw new RegExpSyntaxError('the flag m is not supported with anchors', this.#pattern);
  }

  #literal(character: string): string {
    if (this.#flags.ignoreCase) {
      const [lower, upper] = [character.toLowerCase(), character.toUpperCase()];
      if (lower !== upper && lower.length === 1 && upper.length === 1)
        return `[${escapeLiteral(lower)}${escapeLiteral(upper)}]`;
    }
    return character.length > 1 ? `(?:${escapeLiteral(character)})` : escapeLiteral(character);
  }

  #group(): string {
    const start = this.#position - 1;
    let open = '(';
    if (this.#take('?')) {
      const named = /^P?<([A-Za-z_]\w*)>/.exec(this.#pattern.slice(this.#position));
      if (named !== null) this.#position += named[0].length;
      else {
        const flags = this.#inlineFlags(start);
        if (flags === 'set') return '(?:)';
        open = '(?:';
        const outer = this.#flags;
        this.#flags = flags;
        const body = this.#alternatives();
        this.#flags = outer;
        this.#close(start);
        return `${open}${body})`;
      }
    }
    const body = this.#alternatives();
    this.#close(start);
    return `${open}${body})`;
  }

  #close(start: number): void {
    if (!this.#take(')')) throw new RegExpSyntaxError('missing closing )', this.#pattern.slice(start));
  }

  /** `i`, `m`, `s`, `U` and their negations: for what follows, or for one group. */
  #inlineFlags(start: number): Flags | 'set' {
    const match = /^([imsU]*)(?:-([imsU]+))?([:)])/.exec(this.#pattern.slice(this.#position));
    if (match === null) {
      const part = this.#pattern.slice(start, this.#position + 1);
      throw new RegExpSyntaxError('invalid or unsupported Perl syntax', part);
    }
    this.#position += match[0].length;
    const [, on = '', off = '', end] = match;
    const decide = (flag: string, now: boolean) => (off.includes(flag) ? false : on.includes(flag) || now);
    const { ignoreCase, multiline, dotAll, ungreedy } = this.#flags;
    const flags = {
      ignoreCase: decide('i', ignoreCase),
      multiline: decide('m', multiline),
      dotAll: decide('s', dotAll),
      ungreedy: decide('U', ungreedy),
    };
    if (end === ':') return flags;
    this.#flags = flags;
    return 'set';
  }

  #escape(): string {
    if (this.#position >= this.#pattern.length)
      throw new RegExpSyntaxError('trailing backslash at end of expression', '');
    const character = this.#next();
    const lower = character.toLowerCase();
    if (perlClasses[lower] !== undefined) {
      const body = perlClasses[lower];
      return lower === character ? `[${body}]` : `(?:${astral}|[^${body}])`;
    }
    if (lower === 'p') return this.#unicode(character === 'P').standing;
    if (character === 'b' || character === 'B') return `\\${character}`;
    if (character === 'A') return '^';
    if (character === 'z') return '$';
    if (character === 'Q') {
      const end = this.#pattern.indexOf('\\E', this.#position);
      const text = this.#pattern.slice(this.#position, end < 0 ? undefined : end);
      this.#position = end < 0 ? this.#pattern.length : end + 2;
      return `(?:${[...text].map((each) => this.#literal(each)).join('')})`;
    }
    return this.#literal(this.#escaped(character));
  }

  /** The character that an escape stands for. */
  #escaped(character: string): string {
    const control = controlEscapes[character];
    if (control !== undefined)
      return JSON.parse(`"${control.replace('\\x', '\\u00').replace('\\v', '\\u000b')}"`) as string;
    if (character === 'x') {
      const match = /^(?:([0-9A-Fa-f]{2})|\{([0-9A-Fa-f]{1,6})\})/.exec(this.#pattern.slice(this.#position));
      const code = Number.parseInt(match?.[1] ?? match?.[2] ?? 'x', 16);
      if (match === null || code > 0x10ffff) throw new RegExpSyntaxError('invalid escape sequence', '\\x');
      this.#position += match[0].length;
      return String.fromCodePoint(code);
    }
    if (/[0-9A-Za-z]/.test(character)) {
      const octal = /^[0-7]{1,3}/.exec(character + this.#pattern.slice(this.#position, this.#position + 2));
      if (character === '0' && octal !== null) {
        this.#position += octal[0].length - 1;
        return String.fromCodePoint(Number.parseInt(octal[0], 8));
      }
      throw new RegExpSyntaxError('invalid escape sequence', `\\${character}`);
    }
    return character;
  }

  #unicode(isNegated: boolean): { standing: string; inside: string } {
    const match = /^(?:([A-Z])|\{\^?([A-Za-z_]+)\})/.exec(this.#pattern.slice(this.#position));
    const name = match?.[1] ?? match?.[2] ?? '';
    const body = unicodeClasses[name];
    if (match === null || body === undefined) {
      throw new RegExpSyntaxError('invalid character class range', `\\p${match?.[0] ?? ''}`);
    }
    this.#position += match[0].length;
    const negated = isNegated !== match[0].includes('^');
    return { standing: negated ? `(?:${astral}|[^${body}])` : `[${body}]`, inside: body };
  }

  #characterClass(): string {
    const start = this.#position - 1;
    const isNegated = this.#take('^');
    let body = '';
    const others: string[] = [];
    for (let isFirst = true; isFirst || !this.#take(']'); isFirst = false) {
      if (this.#position >= this.#pattern.length) {
        throw new RegExpSyntaxError('missing closing ]', this.#pattern.slice(start));
      }
      const set = this.#namedSet();
      if (set !== undefined) {
        body += set;
        continue;
      }
      const low = this.#classCharacter();
      let high = low;
      if (this.#peek('-') && this.#pattern[this.#position + 1] !== ']' && this.#take('-'))
        high = this.#classCharacter();
      const [from, to] = [low.codePointAt(0) ?? 0, high.codePointAt(0) ?? 0];
      if (from > to) throw new RegExpSyntaxError('invalid character class range', `${low}-${high}`);
      if (from <= 0xffff) body += `${escapeUnit(from)}-${escapeUnit(Math.min(to, 0xffff))}`;
      if (this.#flags.ignoreCase && to <= 0xff) body += this.#otherCase(from, to);
      if (to > 0xffff) others.push(from > 0xffff && from === to ? escapeLiteral(low) : astral);
    }
    if (isNegated) return `(?:${others.length > 0 ? '' : `${astral}|`}[^${body}])`;
    const own = `[${body}]`;
    return others.length === 0 ? own : `(?:${[...others, ...(body === '' ? [] : [own])].join('|')})`;
  }

  #otherCase(from: number, to: number): string {
    let body = '';
    for (let code = from; code <= to; code += 1) {
      const character = String.fromCharCode(code);
      const other = character === character.toLowerCase() ? character.toUpperCase() : character.toLowerCase();
      if (other !== character && other.length === 1) body += escapeUnit(other.charCodeAt(0));
    }
    return body;
  }

  /** `[:alpha:]`, `\d` or `\pL` inside a class. */
  #namedSet(): string | undefined {
    const posix = /^\[:(\^?)(\w+):\]/.exec(this.#pattern.slice(this.#position, this.#position + 16));
    if (posix !== null) {
      const set = posixClasses[posix[2] ?? ''];
      if (set === undefined || posix[1] === '^') throw new RegExpSyntaxError('invalid character class range', posix[0]);
      this.#position += posix[0].length;
      return set;
    }
    const perl = /^\\([dDwWsSpP])/.exec(this.#pattern.slice(this.#position, this.#position + 2));
    if (perl === null) return undefined;
    this.#position += 2;
    const letter = perl[1] ?? '';
    if (letter === 'p') return this.#unicode(false).inside;
    if (letter === 'P') throw new RegExpSyntaxError('invalid character class range', '\\P');
    return letter === letter.toLowerCase() ? (perlClasses[letter] ?? '') : letter === 'S' ? '\\S\\v' : `\\${letter}`;
  }

  #classCharacter(): string {
    if (this.#take('\\')) return this.#escaped(this.#next());
    return this.#next();
  }
}

/** The same expression for the linear engine. Throws RegExpSyntaxError. */
export function translateRegExp(pattern: string): string {
  return new Translation(pattern).run();
}
