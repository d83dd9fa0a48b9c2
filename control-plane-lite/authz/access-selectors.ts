// What a request may see by its selectors, for authorizers that look at them. A selector that cannot be understood, or a
// part of one, is left out: requirements only narrow a request, so that without them more is asked for, never less.
import { type FieldRequirement, type FieldRequirements, parseFieldSelector } from '#kube/api/field-selector.ts';
import type {
  FieldSelectorAttributes,
  LabelSelectorAttributes,
  ResourceAttributes,
} from '#kube/api/generated/authorization-v1.ts';
import {
  type LabelRequirement,
  type LabelRequirements,
  newRequirement,
  SelectorError,
} from '#kube/api/label-selector.ts';
import { parseLabelSelector } from '#kube/api/parse-label-selector.ts';
import { type FieldError, invalidField, requiredField } from '#kube/errors/field-error.ts';

export interface AccessSelectors {
  fieldSelector?: FieldRequirements;
  labelSelector?: LabelRequirements;
}

interface Parsed<Requirements> {
  requirements: Requirements;
  hasFaults: boolean;
}

function attempt<T>(parse: () => T): T | undefined {
  try {
    return parse();
  } catch (error) {
    if (error instanceof SelectorError) return undefined;
    throw error;
  }
}

/** From the texts of a query. */
export function selectorsOfQuery(fieldText: string, labelText: string): AccessSelectors {
  const fieldSelector = fieldText === '' ? undefined : attempt(() => parseFieldSelector(fieldText));
  const labelSelector = labelText === '' ? undefined : attempt(() => parseLabelSelector(labelText));
  return {
    ...(fieldSelector === undefined ? {} : { fieldSelector }),
    ...(labelSelector === undefined ? {} : { labelSelector }),
  };
}

function parseRaw<T>(raw: string, parse: (text: string) => readonly T[]): Parsed<readonly T[]> {
  const requirements = raw === '' ? [] : attempt(() => parse(raw));
  return { requirements: requirements ?? [], hasFaults: requirements === undefined };
}

function parseFields({ requirements = [], rawSelector = '' }: FieldSelectorAttributes): Parsed<FieldRequirements> {
  if (requirements.length === 0) return parseRaw(rawSelector, parseFieldSelector);
  const understood = requirements.flatMap(({ key, operator, values = [] }): FieldRequirement[] => {
    const [value] = values;
    if (value === undefined || values.length > 1) return [];
    if (operator === 'In') return [{ field: key, operator: '=', value }];
    return operator === 'NotIn' ? [{ field: key, operator: '!=', value }] : [];
  });
  return { requirements: understood, hasFaults: understood.length < requirements.length };
}

const labelOperators = ['In', 'NotIn', 'Exists', 'DoesNotExist'] as const;

function parseLabels({ requirements = [], rawSelector = '' }: LabelSelectorAttributes): Parsed<LabelRequirements> {
  if (requirements.length === 0) return parseRaw(rawSelector, parseLabelSelector);
  const understood = requirements.flatMap(({ key, operator, values = [] }): LabelRequirement[] => {
    const known = labelOperators.find((name) => name === operator);
    const requirement = known === undefined ? undefined : attempt(() => newRequirement(key, known, values));
    return requirement === undefined ? [] : [requirement];
  });
  return { requirements: understood, hasFaults: understood.length < requirements.length };
}

/** From a SubjectAccessReview, with what its status says of what was left out. */
export function selectorsOfReview(asked: ResourceAttributes): { selectors: AccessSelectors; evaluationError: string } {
  const fields = asked.fieldSelector === undefined ? undefined : parseFields(asked.fieldSelector);
  const labels = asked.labelSelector === undefined ? undefined : parseLabels(asked.labelSelector);
  const told = Object.entries({ fieldSelector: fields, labelSelector: labels }).flatMap(([name, parsed]) =>
    parsed?.hasFaults === true
      ? [
          `spec.resourceAttributes.${name} ${parsed.requirements.length > 0 ? 'partially ' : ''}ignored due to parse error`,
        ]
      : [],
  );
  return {
    selectors: {
      ...(fields === undefined || fields.requirements.length === 0 ? {} : { fieldSelector: fields.requirements }),
      ...(labels === undefined || labels.requirements.length === 0 ? {} : { labelSelector: labels.requirements }),
    },
    evaluationError: told.join('; '),
  };
}

/** What is wrong with the selectors of a review as such. */
export function selectorFaults(asked: ResourceAttributes | undefined): FieldError[] {
  return (['fieldSelector', 'labelSelector'] as const).flatMap((name) => {
    const selector = asked?.[name];
    if (selector === undefined) return [];
    const path = `spec.resourceAttributes.${name}`;
    const { rawSelector = '', requirements = [] } = selector;
    if (rawSelector !== '' && requirements.length > 0) {
      return [invalidField(`${path}.rawSelector`, rawSelector, 'may not specified at the same time as requirements')];
    }
    if (rawSelector !== '' || requirements.length > 0) return [];
    const why = `when ${path} is specified, requirements or rawSelector is required`;
    return [requiredField(`${path}.requirements`, why)];
  });
}
