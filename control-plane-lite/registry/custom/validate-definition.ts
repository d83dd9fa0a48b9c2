// Rules of custom resource definitions, with the texts of the reference.
import type { CustomResourceDefinition } from '#kube/api/generated/apiextensions-v1.ts';
import { dns1035LabelFaults, dns1123SubdomainFaults } from '#kube/api/names.ts';
import type { KubeObject } from '#kube/api/resource.ts';
import { duplicateField, type FieldError, invalidField, requiredField } from '#kube/errors/field-error.ts';
import { oneOf, requiredSyntax, sameValue, unchanged } from '../validation/field-checks.ts';
import type { JsonSchema } from './json-schema.ts';
import { validateStructural } from './validate-structural.ts';

type Definition = KubeObject & CustomResourceDefinition;
type Version = CustomResourceDefinition['spec']['versions'][number];

const columnTypes = ['integer', 'number', 'string', 'boolean', 'date'];
const columnFormats = ['int32', 'int64', 'float', 'double', 'byte', 'date', 'date-time', 'password'];
const approval = 'api-approved.kubernetes.io';

const isFieldPath = (path: string): boolean => /^(\.[A-Za-z_][A-Za-z0-9_-]*)+$/.test(path);

function checkScale({ subresources }: Version, at: string): FieldError[] {
  const scale = subresources?.scale;
  if (scale === undefined || scale === null) return [];
  const paths: [string, string | undefined, string, boolean][] = [
    ['specReplicasPath', scale.specReplicasPath, '.spec.', true],
    ['statusReplicasPath', scale.statusReplicasPath, '.status.', true],
    ['labelSelectorPath', scale.labelSelectorPath, '', false],
  ];
  return paths.flatMap(([name, path, prefix, isRequired]) => {
    const field = `${at}.subresources.scale.${name}`;
    if ((path ?? '') === '') return isRequired ? [requiredField(field)] : [];
    const text = path ?? '';
    if (!isFieldPath(text)) return [invalidField(field, text, 'must be a simple json path with field names only')];
    const starts = prefix === '' ? text.startsWith('.spec.') || text.startsWith('.status.') : text.startsWith(prefix);
    const wanted = prefix === '' ? '.status or .spec' : prefix.slice(0, -1);
    return starts ? [] : [invalidField(field, text, `should be a json path under ${wanted}`)];
  });
}

function checkColumns({ additionalPrinterColumns = [] }: Version, at: string): FieldError[] {
  return additionalPrinterColumns.flatMap(({ name, type, format, jsonPath }, index) => {
    const field = `${at}.additionalPrinterColumns[${index}]`;
    return [
      ...((name ?? '') === '' ? [requiredField(`${field}.name`)] : []),
      ...((type ?? '') === ''
        ? [requiredField(`${field}.type`, `must be one of ${columnTypes.join(',')}`)]
        : columnTypes.includes(type)
          ? []
          : [invalidField(`${field}.type`, type, `must be one of ${columnTypes.join(',')}`)]),
      ...((format ?? '') === '' || columnFormats.includes(format ?? '')
        ? []
        : [invalidField(`${field}.format`, format, `must be one of ${columnFormats.join(',')}`)]),
      ...((jsonPath ?? '') === ''
        ? [requiredField(`${field}.JSONPath`)]
        : jsonPath.startsWith('.')
          ? []
          : [invalidField(`${field}.JSONPath`, jsonPath, 'must be a valid JSON path')]),
    ];
  });
}

function checkSelectableFields(version: Version, at: string): FieldError[] {
  const fields = version.selectableFields ?? [];
  const seen = new Set<string>();
  const schema = version.schema?.openAPIV3Schema as JsonSchema | undefined;
  return fields.flatMap(({ jsonPath = '' }, index) => {
    const field = `${at}.selectableFields[${index}].jsonPath`;
    if (jsonPath === '') return [requiredField(field)];
    if (!isFieldPath(jsonPath)) return [invalidField(field, jsonPath, 'is an invalid path: must be a simple path')];
    if (seen.has(jsonPath)) return [duplicateField(field, jsonPath)];
    seen.add(jsonPath);
    const target = jsonPath
      .split('.')
      .slice(1)
      .reduce<JsonSchema | undefined>((each, name) => each?.properties?.[name], schema);
    if (target === undefined)
      return [invalidField(field, jsonPath, 'is an invalid path: does not refer to a valid field')];
    if (!['string', 'boolean', 'integer'].includes(target.type ?? '')) {
      return [
        invalidField(
          field,
          jsonPath,
          `must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.`,
        ),
      ];
    }
    return jsonPath.startsWith('.metadata')
      ? [invalidField(field, jsonPath, 'must not point to fields in metadata')]
      : [];
  });
}

function checkConversion({ spec }: CustomResourceDefinition): FieldError[] {
  const { strategy = 'None', webhook } = spec.conversion ?? {};
  const errors = oneOf('spec.conversion.strategy', strategy, ['None', 'Webhook']);
  if (strategy === 'None') {
    return webhook === undefined
      ? errors
      : [
          ...errors,
          {
            field: 'spec.conversion.webhook',
            reason: 'FieldValueForbidden',
            message: 'Forbidden: should not be set when strategy is not set to Webhook',
          },
        ];
  }
  const client = webhook?.clientConfig;
  if (client === undefined)
    return [
      ...errors,
      requiredField('spec.conversion.webhookClientConfig', 'required when strategy is set to Webhook'),
    ];
  if ((client.url === undefined) === (client.service === undefined)) {
    errors.push(requiredField('spec.conversion.webhookClientConfig', 'exactly one of url or service is required'));
  }
  if (client.url !== undefined && !client.url.startsWith('https://')) {
    errors.push(
      invalidField(
        'spec.conversion.webhookClientConfig.url',
        client.url,
        `"https" is the only allowed URL scheme; desired format: https://host[/path]`,
      ),
    );
  }
  const versions = webhook?.conversionReviewVersions ?? [];
  if (versions.length === 0) errors.push(requiredField('spec.conversion.conversionReviewVersions'));
  else if (!versions.includes('v1') && !versions.includes('v1beta1')) {
    errors.push(
      invalidField('spec.conversion.conversionReviewVersions', versions, 'must include at least one of v1, v1beta1'),
    );
  }
  return errors;
}

function checkNames({ metadata, spec }: Definition): FieldError[] {
  const { names } = spec;
  const errors: FieldError[] = [
    ...requiredSyntax('spec.names.plural', names.plural, dns1035LabelFaults),
    ...requiredSyntax('spec.names.singular', names.singular ?? '', dns1035LabelFaults),
    ...requiredSyntax('spec.names.kind', names.kind.toLowerCase(), dns1035LabelFaults),
    ...requiredSyntax('spec.names.listKind', (names.listKind ?? '').toLowerCase(), dns1035LabelFaults),
  ];
  for (const [index, name] of (names.shortNames ?? []).entries())
    errors.push(...requiredSyntax(`spec.names.shortNames[${index}]`, name, dns1035LabelFaults));
  for (const [index, name] of (names.categories ?? []).entries())
    errors.push(...requiredSyntax(`spec.names.categories[${index}]`, name, dns1035LabelFaults));
  if (names.kind !== '' && names.kind === names.listKind)
    errors.push(invalidField('spec.names.listKind', names.listKind, 'kind and listKind may not be the same'));
  const isProtected = /(^|\.)(k8s|kubernetes)\.io$/.test(spec.group);
  const approved = metadata.annotations?.[approval];
  if (isProtected && approved === undefined) {
    errors.push(
      requiredField(
        `metadata.annotations[${approval}]`,
        `protected groups must have approval annotation ${JSON.stringify(approval)}, see https://github.com/kubernetes/enhancements/pull/1111`,
      ),
    );
  }
  return errors;
}

/** Where a version's schema stands: the reference keeps one that all versions share beside them. */
function schemaPath({ spec }: CustomResourceDefinition, index: number): string {
  const isShared = spec.versions.every(({ schema }) => sameValue(schema, spec.versions[0]?.schema));
  return isShared ? 'spec.validation.openAPIV3Schema' : `spec.versions[${index}].schema.openAPIV3Schema`;
}

function checkVersions(definition: Definition): FieldError[] {
  const { spec } = definition;
  const errors: FieldError[] = [];
  const names = new Set<string>();
  const paths = new Set<string>();
  for (const [index, version] of spec.versions.entries()) {
    const at = `spec.versions[${index}]`;
    errors.push(...requiredSyntax(`${at}.name`, version.name, dns1035LabelFaults));
    if (names.has(version.name))
      errors.push(invalidField('spec.versions', version.name, 'must contain unique version names'));
    names.add(version.name);
    const schema = version.schema?.openAPIV3Schema as JsonSchema | undefined;
    if (schema === undefined) errors.push(requiredField(`${at}.schema.openAPIV3Schema`));
    else {
      const path = schemaPath(definition, index);
      if (!paths.has(path)) errors.push(...validateStructural(schema, path));
      paths.add(path);
    }
    errors.push(...checkScale(version, at), ...checkColumns(version, at), ...checkSelectableFields(version, at));
    if ((version.deprecationWarning ?? '') !== '' && version.deprecated !== true) {
      errors.push(
        invalidField(`${at}.deprecationWarning`, version.deprecationWarning, 'can only be set for deprecated versions'),
      );
    }
  }
  return errors;
}

/** Everything about a definition by itself. */
export function validateDefinition(definition: Definition): FieldError[] {
  const { metadata, spec } = definition;
  const errors: FieldError[] = [];
  if (metadata.name !== `${spec.names.plural}.${spec.group}`) {
    errors.push(invalidField('metadata.name', metadata.name, 'must be spec.names.plural+"."+spec.group'));
  }
  errors.push(...requiredSyntax('spec.group', spec.group, dns1123SubdomainFaults));
  if (spec.group !== '' && !spec.group.includes('.')) {
    errors.push(invalidField('spec.group', spec.group, 'should be a domain with at least one dot'));
  }
  errors.push(
    ...((spec.scope ?? '') === ''
      ? [requiredField('spec.scope')]
      : oneOf('spec.scope', spec.scope, ['Cluster', 'Namespaced'])),
  );
  if (spec.preserveUnknownFields === true) {
    errors.push(
      invalidField(
        'spec.preserveUnknownFields',
        true,
        'cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead',
      ),
    );
  }
  errors.push(...checkVersions(definition));
  if (spec.versions.filter((version) => version.storage).length !== 1) {
    errors.push(
      invalidField('spec.versions', spec.versions, 'must have exactly one version marked as storage version'),
    );
  }
  return [...errors, ...checkNames(definition), ...checkConversion(definition)];
}

/** Also what may not change once names are accepted, and versions that objects are stored in. */
export function validateDefinitionUpdate(definition: Definition, previous: Definition): FieldError[] {
  const errors = validateDefinition(definition);
  const { spec, status } = definition;
  const before = previous.spec;
  const isEstablished = (previous.status?.conditions ?? []).some(
    ({ type, status: is }) => type === 'Established' && is === 'True',
  );
  errors.push(
    ...unchanged('spec.group', spec.group, before.group),
    ...unchanged('spec.names.plural', spec.names.plural, before.names.plural),
  );
  if (isEstablished) {
    errors.push(
      ...unchanged('spec.scope', spec.scope, before.scope),
      ...unchanged('spec.names.kind', spec.names.kind, before.names.kind),
    );
  }
  for (const [index, name] of (status?.storedVersions ?? []).entries()) {
    if (spec.versions.some((version) => version.name === name)) continue;
    errors.push(
      invalidField(
        `status.storedVersions[${index}]`,
        name,
        'missing from spec.versions; it was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in that version and removes it from status.storedVersions',
      ),
    );
  }
  return errors;
}

/** What may be said of versions in the status. */
export function validateDefinitionStatus({ spec, status }: Definition): FieldError[] {
  const stored = status?.storedVersions ?? [];
  const current = spec.versions.find((version) => version.storage)?.name ?? '';
  const errors: FieldError[] =
    stored.length === 0 ? [invalidField('status.storedVersions', stored, 'must have at least one stored version')] : [];
  if (stored.length > 0 && !stored.includes(current)) {
    errors.push(invalidField('status.storedVersions', stored, `must have the storage version ${current}`));
  }
  for (const [index, name] of stored.entries()) {
    if (!spec.versions.some((version) => version.name === name))
      errors.push(invalidField(`status.storedVersions[${index}]`, name, 'must appear in spec.versions'));
  }
  return errors;
}
