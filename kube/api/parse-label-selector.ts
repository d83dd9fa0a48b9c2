// The query text of label selectors (`app=web,tier in (a,b),!old`), with the API server's error texts.
// Source of grammar and texts: k8s.io/apimachinery/pkg/labels.
import {
  checkLabelKey,
  type LabelRequirement,
  type LabelRequirements,
  newRequirement,
  SelectorError,
  type SelectorOperator,
} from './label-selector.ts';

type TokenKind =
  | 'end'
  | 'identifier'
  | 'error'
  | 'in'
  | 'notin'
  | '('
  | ')'
  | ','
  | '!'
  | '='
  | '=='
  | '!='
  | '<'
  | '>';

interface Token {
  kind: TokenKind;
  text: string;
}

const symbols = new Set<string>(['(', ')', ',', '!', '=', '==', '!=', '<', '>']);
const isSpace = (char: string) => char === ' ' || char === '\t' || char === '\r' || char === '\n';
const isSymbol = (char: string) => '=!(),><'.includes(char);

function scan(text: string): Token[] {
  const tokens: Token[] = [];
  let at = 0;
  while (at < text.length) {
    const char = text.charAt(at);
    if (isSpace(char)) {
      at += 1;
    } else if (isSymbol(char)) {
      const pair = text.slice(at, at + 2);
      const symbol = symbols.has(pair) ? pair : char;
      tokens.push({ kind: symbol as TokenKind, text: symbol });
      at += symbol.length;
    } else {
      let end = at;
      while (end < text.length && !isSpace(text.charAt(end)) && !isSymbol(text.charAt(end))) end += 1;
      const word = text.slice(at, end);
      tokens.push({ kind: word === 'in' || word === 'notin' ? word : 'identifier', text: word });
      at = end;
    }
  }
  return tokens;
}

const binaryOperators: Partial<Record<TokenKind, SelectorOperator>> = {
  in: 'In',
  notin: 'NotIn',
  '=': 'In',
  '==': 'In',
  '!=': 'NotIn',
  '>': 'Gt',
  '<': 'Lt',
};

class Parser {
  readonly #tokens: Token[];
  #at = 0;

  constructor(text: string) {
    this.#tokens = scan(text);
  }

  /** The next token. Where a value or key may stand, `in` and `notin` are words like others. */
  #peek(as: 'value' | 'operator'): Token {
    const token = this.#tokens[this.#at] ?? { kind: 'end', text: '' };
    const isWord = token.kind === 'in' || token.kind === 'notin';
    return as === 'value' && isWord ? { kind: 'identifier', text: token.text } : token;
  }

  #take(as: 'value' | 'operator'): Token {
    const token = this.#peek(as);
    this.#at += 1;
    return token;
  }

  parse(): LabelRequirements {
    const requirements: LabelRequirement[] = [];
    for (;;) {
      const start = this.#peek('value');
      if (start.kind === 'end') return requirements;
      if (start.kind !== 'identifier' && start.kind !== '!') {
        throw new SelectorError(`found '${start.text}', expected: !, identifier, or 'end of string'`);
      }
      try {
        requirements.push(this.#requirement());
      } catch (error) {
        if (error instanceof SelectorError) {
          throw new SelectorError(`unable to parse requirement: ${error.message}`);
        }
        throw error;
      }
      const separator = this.#take('value');
      if (separator.kind === 'end') return requirements;
      if (separator.kind !== ',') {
        throw new SelectorError(`found '${separator.text}', expected: ',' or 'end of string'`);
      }
      const next = this.#peek('value');
      if (next.kind !== 'identifier' && next.kind !== '!') {
        throw new SelectorError(`found '${next.text}', expected: identifier after ','`);
      }
    }
  }

  #requirement(): LabelRequirement {
    let token = this.#take('value');
    const negated = token.kind === '!';
    if (negated) token = this.#take('value');
    if (token.kind !== 'identifier') throw new SelectorError(`found '${token.text}', expected: identifier`);
    const key = token.text;
    checkLabelKey(key, '<nil>');
    if (negated) return newRequirement(key, 'DoesNotExist', []);
    const after = this.#peek('value').kind;
    if (after === 'end' || after === ',') return newRequirement(key, 'Exists', []);
    const sign = this.#take('operator');
    const operator = binaryOperators[sign.kind];
    if (operator === undefined) {
      throw new SelectorError(`found '${sign.text}', expected: in, notin, =, ==, !=, gt, lt`);
    }
    const isSet = sign.kind === 'in' || sign.kind === 'notin';
    return newRequirement(key, operator, isSet ? this.#valueSet() : [this.#exactValue()]);
  }

  #exactValue(): string {
    const next = this.#peek('value');
    if (next.kind === 'end' || next.kind === ',') return '';
    this.#take('value');
    if (next.kind !== 'identifier') throw new SelectorError(`found '${next.text}', expected: identifier`);
    return next.text;
  }

  #valueSet(): string[] {
    const open = this.#take('value');
    if (open.kind !== '(') throw new SelectorError(`found '${open.text}' expected: '('`);
    const first = this.#peek('value');
    if (first.kind === ')') {
      this.#take('value');
      return [];
    }
    if (first.kind !== 'identifier' && first.kind !== ',') {
      throw new SelectorError(`found '${first.text}', expected: ',', ')' or identifier`);
    }
    const values = this.#valueList();
    const close = this.#take('value');
    if (close.kind !== ')') throw new SelectorError(`found '${first.text}', expected: ')'`);
    return [...values].sort();
  }

  /** Values between commas; an empty place between two commas is the empty value. */
  #valueList(): Set<string> {
    const values = new Set<string>();
    for (;;) {
      const token = this.#take('value');
      if (token.kind === 'identifier') {
        values.add(token.text);
        const next = this.#peek('value');
        if (next.kind === ')') return values;
        if (next.kind !== ',') throw new SelectorError(`found '${next.text}', expected: ',' or ')'`);
      } else if (token.kind === ',') {
        if (values.size === 0) values.add('');
        const next = this.#peek('value');
        if (next.kind === ')') {
          values.add('');
          return values;
        }
        if (next.kind === ',') {
          this.#take('value');
          values.add('');
        }
      } else {
        throw new SelectorError(`found '${token.text}', expected: ',', or identifier`);
      }
    }
  }
}

/** Parses a query text; an empty one selects everything. Throws SelectorError. */
export function parseLabelSelector(text: string): LabelRequirements {
  return [...new Parser(text).parse()].sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0));
}
