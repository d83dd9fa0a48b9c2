// Field selectors (`spec.nodeName=a,status.phase!=Failed`): parsing, matching, formatting.
// Source of grammar and texts: k8s.io/apimachinery/pkg/fields.
import { SelectorError } from './label-selector.ts';

/** One field that must or must not have a value. */
export interface FieldRequirement {
  readonly field: string;
  readonly operator: '=' | '!=';
  readonly value: string;
}

export type FieldRequirements = readonly FieldRequirement[];

/** Splits at commas that are not escaped by a backslash. */
function splitTerms(text: string): string[] {
  const terms: string[] = [];
  let start = 0;
  for (let at = 0; at < text.length; at += 1) {
    if (text.charAt(at) === '\\') {
      at += 1;
    } else if (text.charAt(at) === ',') {
      terms.push(text.slice(start, at));
      start = at + 1;
    }
  }
  return [...terms, text.slice(start)];
}

function unescapeValue(value: string): string {
  return value.replace(/\\(.?)|[,=]/g, (whole: string, escaped: string | undefined) => {
    if (escaped === undefined) {
      throw new SelectorError(`invalid field selector: unescaped character in value: ${whole}`);
    }
    if (escaped !== '\\' && escaped !== ',' && escaped !== '=') {
      throw new SelectorError(`invalid field selector: invalid escape sequence: ${whole}`);
    }
    return escaped;
  });
}

function escapeValue(value: string): string {
  return value.replace(/[\\,=]/g, (char) => `\\${char}`);
}

/** Parses a query text; an empty one selects everything. Throws SelectorError in the API server's words. */
export function parseFieldSelector(text: string): FieldRequirements {
  return splitTerms(text)
    .filter((term) => term !== '')
    .map((term) => {
      const match = /^(.*?)(!=|==|=)(.*)$/s.exec(term);
      if (match === null) throw new SelectorError(`invalid selector: '${text}'; can't understand '${term}'`);
      return { field: match[1] ?? '', operator: match[2] === '!=' ? '!=' : '=', value: unescapeValue(match[3] ?? '') };
    });
}

/** `read` reads a field by name; an unset field is the empty text. */
export function fieldsMatch(requirements: FieldRequirements, read: (field: string) => string): boolean {
  return requirements.every(({ field, operator, value }) => (read(field) === value) === (operator === '='));
}

/** The query text of requirements. */
export function formatFieldSelector(requirements: FieldRequirements): string {
  return requirements.map(({ field, operator, value }) => `${field}${operator}${escapeValue(value)}`).join(',');
}
