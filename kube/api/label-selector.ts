// Label selectors: objects (`LabelSelector`, plain maps) and query texts, reduced to one list of requirements.
import type { LabelSelector } from './generated/meta-v1.ts';
import { labelValueFaults, qualifiedNameFaults } from './names.ts';

export type SelectorOperator = 'In' | 'NotIn' | 'Exists' | 'DoesNotExist' | 'Gt' | 'Lt';

/** One condition on one label; all requirements of a selector must hold. */
export interface LabelRequirement {
  readonly key: string;
  readonly operator: SelectorOperator;
  readonly values: readonly string[];
}

/** An empty list selects everything. */
export type LabelRequirements = readonly LabelRequirement[];

export type Labels = Readonly<Record<string, string>> | undefined;

/** A selector that cannot be understood; the message is the API server's. */
export class SelectorError extends Error {
  readonly code = 'INVALID_SELECTOR';

  constructor(message: string) {
    super(message);
    this.name = 'SelectorError';
  }
}

function invalid(path: string, value: unknown, detail: string): SelectorError {
  return new SelectorError(`${path}: Invalid value: ${JSON.stringify(value)}: ${detail}`);
}

/** Throws SelectorError for a key that is not a label key. `path` is what the message names. */
export function checkLabelKey(key: string, path: string): void {
  const faults = qualifiedNameFaults(key);
  if (faults.length > 0) throw invalid(path, key, faults.join('; '));
}

/** Builds a requirement, or throws SelectorError in the API server's words. */
export function newRequirement(key: string, operator: SelectorOperator, values: readonly string[]): LabelRequirement {
  checkLabelKey(key, 'key');
  switch (operator) {
    case 'In':
    case 'NotIn':
      if (values.length === 0)
        throw invalid('values', values, "for 'in', 'notin' operators, values set can't be empty");
      break;
    case 'Exists':
    case 'DoesNotExist':
      if (values.length > 0) throw invalid('values', values, 'values set must be empty for exists and does not exist');
      break;
    case 'Gt':
    case 'Lt':
      if (values.length !== 1) {
        throw invalid('values', values, "for 'Gt', 'Lt' operators, exactly one value is required");
      }
      if (!/^[+-]?\d+$/.test(values[0] ?? '')) {
        throw invalid('values[0]', values[0], "for 'Gt', 'Lt' operators, the value must be an integer");
      }
      break;
    default:
      operator satisfies never;
  }
  for (const [index, value] of values.entries()) {
    const faults = labelValueFaults(value);
    if (faults.length > 0) throw invalid(`values[${index}][${key}]`, value, faults.join('; '));
  }
  return { key, operator, values };
}

/** Whether one requirement holds for the labels. */
export function requirementMatches({ key, operator, values }: LabelRequirement, labels: Labels): boolean {
  const value = labels !== undefined && Object.hasOwn(labels, key) ? labels[key] : undefined;
  switch (operator) {
    case 'In':
      return value !== undefined && values.includes(value);
    case 'NotIn':
      return value === undefined || !values.includes(value);
    case 'Exists':
      return value !== undefined;
    case 'DoesNotExist':
      return value === undefined;
    case 'Gt':
    case 'Lt': {
      if (value === undefined || !/^[+-]?\d+$/.test(value)) return false;
      const difference = BigInt(value.replace('+', '')) - BigInt((values[0] ?? '0').replace('+', ''));
      return operator === 'Gt' ? difference > 0n : difference < 0n;
    }
    default:
      return operator satisfies never;
  }
}

/** Whether all requirements hold; an empty list always does. */
export function selectorMatches(requirements: LabelRequirements, labels: Labels): boolean {
  return requirements.every((requirement) => requirementMatches(requirement, labels));
}

const objectOperators: Record<string, SelectorOperator> = {
  In: 'In',
  NotIn: 'NotIn',
  Exists: 'Exists',
  DoesNotExist: 'DoesNotExist',
};

/** The requirements of a plain map, as in a Service's `spec.selector` or `nodeSelector`. */
export function requirementsOfMap(map: Labels): LabelRequirements {
  return Object.entries(map ?? {}).map(([key, value]) => ({ key, operator: 'In', values: [value] }));
}

/**
 * The requirements of a LabelSelector object, or undefined for an absent one, which selects nothing
 * (an empty one selects everything). Throws SelectorError for an unknown operator.
 */
export function requirementsOf(selector: LabelSelector | undefined): LabelRequirements | undefined {
  if (selector === undefined) return undefined;
  const expressions = (selector.matchExpressions ?? []).map(({ key, operator, values }) => {
    const known = objectOperators[operator];
    if (known === undefined)
      throw new SelectorError(`${JSON.stringify(operator)} is not a valid label selector operator`);
    return newRequirement(key, known, values ?? []);
  });
  return [...requirementsOfMap(selector.matchLabels), ...expressions];
}

/** Whether a LabelSelector object selects the labels; an absent selector selects nothing. */
export function labelSelectorMatches(selector: LabelSelector | undefined, labels: Labels): boolean {
  const requirements = requirementsOf(selector);
  return requirements !== undefined && selectorMatches(requirements, labels);
}

/** The query text of requirements, as kubectl and the API server print it. */
export function formatSelector(requirements: LabelRequirements): string {
  return requirements
    .map(({ key, operator, values }) => {
      const set = [...values].sort().join(',');
      switch (operator) {
        case 'In':
          return values.length === 1 ? `${key}=${set}` : `${key} in (${set})`;
        case 'NotIn':
          return values.length === 1 ? `${key}!=${set}` : `${key} notin (${set})`;
        case 'Exists':
          return key;
        case 'DoesNotExist':
          return `!${key}`;
        case 'Gt':
          return `${key}>${set}`;
        case 'Lt':
          return `${key}<${set}`;
        default:
          return operator satisfies never;
      }
    })
    .join(',');
}
