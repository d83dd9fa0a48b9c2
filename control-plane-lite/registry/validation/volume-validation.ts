// Rules of a pod's volumes.
import type { Volume } from '#kube/api/generated/core-v1.ts';
import { configMapKeyFaults, dns1123LabelFaults, dns1123SubdomainFaults } from '#kube/api/names.ts';
import {
  duplicateField,
  type FieldError,
  forbiddenField,
  invalidField,
  requiredField,
} from '#kube/errors/field-error.ts';
import { validateLocalPath } from './container-validation.ts';
import { oneOf, quantity, required, requiredSyntax, syntax } from './field-checks.ts';
import { validateClaimSpec } from './storage-validation.ts';

const hostPathTypes = [
  '',
  'DirectoryOrCreate',
  'Directory',
  'FileOrCreate',
  'File',
  'Socket',
  'CharDevice',
  'BlockDevice',
];
const minTokenSeconds = 600;
const maxTokenSeconds = 2 ** 32;

function validateMode(field: string, mode: number | undefined): FieldError[] {
  if (mode === undefined || (mode >= 0 && mode <= 0o777)) return [];
  return [invalidField(field, mode, 'must be a number between 0 and 0777 (octal), both inclusive')];
}

function validateItems(
  field: string,
  items: readonly { key: string; path: string; mode?: number | undefined }[] | undefined,
): FieldError[] {
  return (items ?? []).flatMap((item, i) => {
    const at = `${field}.items[${i}]`;
    return [
      ...required(`${at}.key`, item.key),
      ...(item.path === '' ? [requiredField(`${at}.path`)] : validateLocalPath(`${at}.path`, item.path)),
      ...validateMode(`${at}.mode`, item.mode),
      ...(item.key === ''
        ? []
        : configMapKeyFaults(item.key).map((fault) => invalidField(`${at}.key`, item.key, fault))),
    ];
  });
}

type DownwardItems = NonNullable<Volume['downwardAPI']>['items'];

function validateDownwardItems(field: string, items: DownwardItems): FieldError[] {
  return (items ?? []).flatMap((item, i) => {
    const at = `${field}.items[${i}]`;
    const errors = item.path === '' ? [requiredField(`${at}.path`)] : validateLocalPath(`${at}.path`, item.path);
    if (item.fieldRef !== undefined && item.resourceFieldRef !== undefined) {
      errors.push(invalidField(at, 'resource', 'fieldRef and resourceFieldRef can not be specified simultaneously'));
    } else if (item.fieldRef === undefined && item.resourceFieldRef === undefined) {
      errors.push(requiredField(at, 'one of fieldRef and resourceFieldRef is required'));
    }
    return [...errors, ...validateMode(`${at}.mode`, item.mode)];
  });
}

function validateProjected(field: string, projected: NonNullable<Volume['projected']>): FieldError[] {
  const errors = validateMode(`${field}.defaultMode`, projected.defaultMode);
  for (const [i, source] of (projected.sources ?? []).entries()) {
    const at = `${field}.sources[${i}]`;
    const kinds = Object.entries(source).filter(([, value]) => value !== undefined);
    for (const [kind] of kinds.slice(1)) {
      errors.push(forbiddenField(`${field}.${kind}`, 'may not specify more than 1 volume type per source'));
    }
    if (kinds.length === 0) errors.push(requiredField(at, 'must specify a volume type'));
    if (source.secret !== undefined) {
      errors.push(
        ...required(`${at}.secret.name`, source.secret.name),
        ...validateItems(`${at}.secret`, source.secret.items),
      );
    }
    if (source.configMap !== undefined) {
      errors.push(...required(`${at}.configMap.name`, source.configMap.name));
      errors.push(...validateItems(`${at}.configMap`, source.configMap.items));
    }
    errors.push(...validateDownwardItems(`${at}.downwardAPI`, source.downwardAPI?.items));
    const token = source.serviceAccountToken;
    if (token === undefined) continue;
    const seconds = token.expirationSeconds ?? 0;
    const place = `${at}.serviceAccountToken`;
    if (seconds < minTokenSeconds) {
      errors.push(
        invalidField(`${place}.expirationSeconds`, seconds, 'may not specify a duration less than 10 minutes'),
      );
    } else if (seconds > maxTokenSeconds) {
      errors.push(
        invalidField(`${place}.expirationSeconds`, seconds, 'may not specify a duration larger than 2^32 seconds'),
      );
    }
    errors.push(...required(`${place}.path`, token.path));
  }
  return errors;
}

function validateSource(field: string, volume: Volume): FieldError[] {
  const { hostPath, emptyDir, configMap, secret, persistentVolumeClaim, downwardAPI, projected, nfs, csi } = volume;
  const errors: FieldError[] = [];
  if (hostPath !== undefined) {
    errors.push(...required(`${field}.hostPath.path`, hostPath.path));
    if (hostPath.path.split('/').includes('..')) {
      errors.push(invalidField(`${field}.hostPath.path`, hostPath.path, "must not contain '..'"));
    }
    errors.push(...oneOf(`${field}.hostPath.type`, hostPath.type, hostPathTypes));
  }
  if (emptyDir?.sizeLimit !== undefined) errors.push(...quantity(`${field}.emptyDir.sizeLimit`, emptyDir.sizeLimit));
  if (configMap !== undefined) {
    errors.push(...required(`${field}.configMap.name`, configMap.name));
    errors.push(...validateMode(`${field}.configMap.defaultMode`, configMap.defaultMode));
    errors.push(...validateItems(`${field}.configMap`, configMap.items));
  }
  if (secret !== undefined) {
    errors.push(...required(`${field}.secret.secretName`, secret.secretName));
    errors.push(...validateMode(`${field}.secret.defaultMode`, secret.defaultMode));
    errors.push(...validateItems(`${field}.secret`, secret.items));
  }
  if (persistentVolumeClaim !== undefined) {
    errors.push(...required(`${field}.persistentVolumeClaim.claimName`, persistentVolumeClaim.claimName));
  }
  if (downwardAPI !== undefined) {
    errors.push(...validateMode(`${field}.downwardAPI.defaultMode`, downwardAPI.defaultMode));
    errors.push(...validateDownwardItems(`${field}.downwardAPI`, downwardAPI.items));
  }
  if (projected !== undefined) errors.push(...validateProjected(`${field}.projected`, projected));
  if (nfs !== undefined) {
    errors.push(...required(`${field}.nfs.server`, nfs.server), ...required(`${field}.nfs.path`, nfs.path));
    if (nfs.path !== '' && !nfs.path.startsWith('/')) {
      errors.push(invalidField(`${field}.nfs.path`, nfs.path, 'must be an absolute path'));
    }
  }
  if (csi !== undefined) errors.push(...requiredSyntax(`${field}.csi.driver`, csi.driver, dns1123SubdomainFaults));
  const template = volume.ephemeral?.volumeClaimTemplate;
  if (volume.ephemeral !== undefined && template === undefined) {
    errors.push(requiredField(`${field}.ephemeral.volumeClaimTemplate`));
  }
  if (template !== undefined)
    errors.push(...validateClaimSpec(`${field}.ephemeral.volumeClaimTemplate.spec`, template.spec));
  return errors;
}

/** Checks all volumes; also answers the names that mounts may refer to. */
export function validateVolumes(
  field: string,
  volumes: readonly Volume[],
): { errors: FieldError[]; names: Set<string> } {
  const names = new Set<string>();
  const errors = volumes.flatMap((volume, i) => {
    const at = `${field}[${i}]`;
    const sources = Object.entries(volume).filter(([key, value]) => key !== 'name' && value !== undefined);
    const found = validateSource(at, volume);
    for (const [kind] of sources.slice(1))
      found.push(forbiddenField(`${at}.${kind}`, 'may not specify more than 1 volume type'));
    if (sources.length === 0) found.push(requiredField(at, 'must specify a volume type'));
    if (volume.name === '') found.push(requiredField(`${at}.name`));
    else found.push(...syntax(`${at}.name`, volume.name, dns1123LabelFaults));
    if (names.has(volume.name)) found.push(duplicateField(`${at}.name`, volume.name));
    names.add(volume.name);
    return found;
  });
  return { errors, names };
}
