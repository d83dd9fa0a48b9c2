// The custom kinds that are served now, and what the write path and the printers do for them.
import type { Resource } from '#kube/api/resource.ts';
import type { FieldError } from '#kube/errors/field-error.ts';
import { failure } from '#kube/errors/status-error.ts';
import type { PrinterFor, TablePrinter } from '../kind-rules.ts';
import type { KindRules } from '../registry.ts';
import type { Strategy } from '../strategy.ts';
import type { Definition } from './custom-definition.ts';
import { defaultCustom } from './default-custom.ts';
import type { JsonSchema } from './json-schema.ts';
import { customPrinter } from './printer-columns.ts';
import { validateCustom } from './validate-custom.ts';
import { validateRules } from './validate-rules.ts';

interface CustomKind {
  schema: JsonSchema;
  printer: TablePrinter;
  /** The definition is being deleted. */
  isTerminating: boolean;
}

/** Shared by the rules and printers that it wraps: they follow it as definitions come and go. */
export interface CustomKinds {
  replace(definitions: readonly Definition[]): void;
  withRules(rules: KindRules): KindRules;
  withPrinters(printerFor: PrinterFor): PrinterFor;
  withStrategies(strategyOf: (resource: Resource) => Strategy): (resource: Resource) => Strategy;
}

const keyOf = ({ group, version, kind }: Pick<Resource, 'group' | 'version' | 'kind'>) => `${group}/${version}/${kind}`;
const customStrategy: Strategy = { allowCreateOnUpdate: false, countsGenerations: true };

/** Nothing is added to what is being taken away. */
const terminatingStrategy: Strategy = {
  ...customStrategy,
  prepareCreate: () => {
    const message = 'create not allowed while custom resource definition is terminating';
    throw failure(405, 'MethodNotAllowed', message);
  },
};

/** The schema of a version; one without keeps whatever it is given. */
export function schemaOf(version: Definition['spec']['versions'][number]): JsonSchema {
  const schema = version.schema?.openAPIV3Schema as JsonSchema | undefined;
  return schema ?? { type: 'object', 'x-kubernetes-preserve-unknown-fields': true };
}

/** Rules are only for objects whose values have the types that the rules were compiled for. */
function checkCustom(object: object, schema: JsonSchema, previous?: object): FieldError[] {
  const errors = validateCustom(object, schema, previous);
  return errors.length > 0 ? errors : validateRules(object, schema, previous);
}

export function createCustomKinds(): CustomKinds {
  let kinds = new Map<string, CustomKind>();
  const find = (resource: Resource) => kinds.get(keyOf(resource));
  return {
    replace: (definitions) => {
      kinds = new Map(
        definitions.flatMap(({ metadata, spec }) =>
          spec.versions.map((version): [string, CustomKind] => [
            keyOf({ group: spec.group, version: version.name, kind: spec.names.kind }),
            {
              schema: schemaOf(version),
              printer: customPrinter(version),
              isTerminating: metadata.deletionTimestamp !== undefined,
            },
          ]),
        ),
      );
    },
    withRules: (rules) => ({
      applyDefaults: (resource, object) => {
        const kind = find(resource);
        if (kind === undefined) rules.applyDefaults(resource, object);
        else defaultCustom(object, kind.schema);
      },
      validateCreate: (resource, object) => {
        const kind = find(resource);
        const errors = rules.validateCreate(resource, object);
        return kind === undefined ? errors : [...errors, ...checkCustom(object, kind.schema)];
      },
      validateUpdate: (resource, object, previous, subresource) => {
        const kind = find(resource);
        const errors = rules.validateUpdate(resource, object, previous, subresource);
        return kind === undefined ? errors : [...errors, ...checkCustom(object, kind.schema, previous)];
      },
    }),
    withPrinters: (printerFor) => (resource) => find(resource)?.printer ?? printerFor(resource),
    withStrategies: (strategyOf) => (resource) => {
      const kind = find(resource);
      if (kind === undefined) return strategyOf(resource);
      return kind.isTerminating ? terminatingStrategy : customStrategy;
    },
  };
}
