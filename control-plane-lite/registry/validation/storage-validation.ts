// Rules of persistent volumes, claims, storage classes and drivers.
import type {
  PersistentVolume,
  PersistentVolumeClaim,
  PersistentVolumeClaimSpec,
} from '#kube/api/generated/core-v1.ts';
import type { CSIDriver, StorageClass } from '#kube/api/generated/storage-v1.ts';
import { dns1123SubdomainFaults } from '#kube/api/names.ts';
import { namesStorageClass } from '#kube/api/persistent-volumes.ts';
import { compareQuantities, parseQuantity } from '#kube/api/quantity.ts';
import {
  type FieldError,
  forbiddenField,
  invalidField,
  requiredField,
  unsupportedField,
} from '#kube/errors/field-error.ts';
import {
  immutableText,
  labelSelector,
  oneOf,
  positiveQuantity,
  quantity,
  required,
  sameValue,
  syntax,
  unchanged,
} from './field-checks.ts';

const accessModes = ['ReadOnlyMany', 'ReadWriteMany', 'ReadWriteOnce', 'ReadWriteOncePod'];
const volumeModes = ['Block', 'Filesystem'];
/** Fields of a PersistentVolume's spec that are not a volume source. */
const notSources = new Set([
  'accessModes',
  'capacity',
  'claimRef',
  'mountOptions',
  'nodeAffinity',
  'persistentVolumeReclaimPolicy',
  'storageClassName',
  'volumeAttributesClassName',
  'volumeMode',
]);

function validateAccessModes(field: string, modes: readonly string[]): FieldError[] {
  const unknown = modes.filter((mode) => !accessModes.includes(mode));
  const errors = unknown.map((mode) => unsupportedField(field, mode, accessModes));
  if (modes.includes('ReadWriteOncePod') && modes.length > 1) {
    errors.push(forbiddenField(field, 'may not use ReadWriteOncePod with other access modes'));
  }
  return errors;
}

/** Rules of a claim's spec, also inside templates. */
export function validateClaimSpec(field: string, spec: PersistentVolumeClaimSpec): FieldError[] {
  const modes = spec.accessModes ?? [];
  const errors =
    modes.length === 0 ? [requiredField(`${field}.accessModes`, 'at least 1 access mode is required')] : [];
  errors.push(
    ...labelSelector(`${field}.selector`, spec.selector),
    ...validateAccessModes(`${field}.accessModes`, modes),
  );
  const storage = spec.resources?.requests?.['storage'];
  if (storage === undefined) errors.push(requiredField(`${field}.resources[storage]`));
  else {
    errors.push(...positiveQuantity(`${field}.resources[storage]`, storage));
  }
  if (spec.storageClassName) {
    errors.push(...syntax(`${field}.storageClassName`, spec.storageClassName, dns1123SubdomainFaults));
  }
  errors.push(...oneOf(`${field}.volumeMode`, spec.volumeMode, volumeModes));
  return errors;
}

export function validateClaim({ spec }: PersistentVolumeClaim): FieldError[] {
  return validateClaimSpec('spec', spec);
}

/** Only storage requests of bound claims may grow, the attributes class may change, and a volume may be bound once. */
export function validateClaimUpdate(claim: PersistentVolumeClaim, previous: PersistentVolumeClaim): FieldError[] {
  const errors = validateClaim(claim);
  // A claim that named no class is given the default one when there is one.
  const mayGetClass = !namesStorageClass(previous) && previous.status?.phase !== 'Bound';
  const fixed = ({ resources, volumeName, volumeAttributesClassName, ...rest }: PersistentVolumeClaimSpec) =>
    mayGetClass ? { ...rest, storageClassName: undefined } : rest;
  const moved = previous.spec.volumeName && claim.spec.volumeName !== previous.spec.volumeName;
  if (!sameValue(fixed(claim.spec), fixed(previous.spec)) || moved) {
    const text =
      'spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims';
    errors.push(forbiddenField('spec', text));
  }
  const size = claim.spec.resources?.requests?.['storage'];
  const before = previous.spec.resources?.requests?.['storage'];
  if (size !== undefined && before !== undefined && errors.length === 0) {
    const order = compareQuantities(parseQuantity(size), parseQuantity(before));
    // A growth that cannot be done may be taken back, down to what is there.
    const held = previous.status?.capacity?.['storage'];
    const isTaken = held === undefined || compareQuantities(parseQuantity(size), parseQuantity(held)) <= 0;
    if (order < 0 && isTaken)
      errors.push(forbiddenField('spec.resources.requests.storage', 'field can not be less than status.capacity'));
    if (order > 0 && previous.status?.phase !== 'Bound') {
      errors.push(
        forbiddenField(
          'spec',
          'spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims',
        ),
      );
    }
  }
  return errors;
}

export function validatePersistentVolume({ spec }: PersistentVolume): FieldError[] {
  const modes = spec.accessModes ?? [];
  const errors =
    modes.length === 0 ? [requiredField('spec.accessModes')] : validateAccessModes('spec.accessModes', modes);
  const capacity = Object.entries(spec.capacity ?? {});
  if (capacity.length === 0) errors.push(requiredField('spec.capacity'));
  if (capacity.length !== 1 || spec.capacity?.['storage'] === undefined) {
    errors.push(unsupportedField('spec.capacity', spec.capacity ?? null, ['storage']));
  }
  for (const [name, value] of capacity) {
    const bad = quantity(`spec.capacity[${name}]`, value);
    errors.push(...bad);
    if (bad.length === 0 && parseQuantity(value).nano === 0n) {
      errors.push(invalidField(`spec.capacity[${name}]`, value, 'must be greater than zero'));
    }
  }
  errors.push(
    ...oneOf('spec.persistentVolumeReclaimPolicy', spec.persistentVolumeReclaimPolicy, ['Delete', 'Recycle', 'Retain']),
  );
  const sources = Object.entries(spec).filter(([key, value]) => !notSources.has(key) && value !== undefined);
  for (const [kind] of sources.slice(1)) {
    errors.push(forbiddenField(`spec.${kind}`, 'may not specify more than 1 volume type'));
  }
  if (sources.length === 0) errors.push(requiredField('spec', 'must specify a volume type'));
  if (spec.hostPath !== undefined) errors.push(...required('spec.hostPath.path', spec.hostPath.path));
  if (spec.local !== undefined) {
    errors.push(...required('spec.local.path', spec.local.path));
    if (spec.nodeAffinity === undefined)
      errors.push(requiredField('spec.nodeAffinity', 'Local volume requires node affinity'));
  }
  if (spec.storageClassName)
    errors.push(...syntax('spec.storageClassName', spec.storageClassName, dns1123SubdomainFaults));
  errors.push(...oneOf('spec.volumeMode', spec.volumeMode, volumeModes));
  return errors;
}

export function validatePersistentVolumeUpdate(volume: PersistentVolume, previous: PersistentVolume): FieldError[] {
  const errors = validatePersistentVolume(volume);
  const source = (spec: PersistentVolume['spec']) =>
    Object.fromEntries(Object.entries(spec).filter(([key]) => !notSources.has(key)));
  if (!sameValue(source(volume.spec), source(previous.spec))) {
    errors.push(
      forbiddenField('spec.persistentvolumesource', 'spec.persistentvolumesource is immutable after creation'),
    );
  }
  errors.push(...unchanged('spec.volumeMode', volume.spec.volumeMode, previous.spec.volumeMode));
  if (previous.spec.nodeAffinity !== undefined) {
    errors.push(...unchanged('spec.nodeAffinity', volume.spec.nodeAffinity, previous.spec.nodeAffinity));
  }
  return errors;
}

export function validateStorageClass(storageClass: StorageClass): FieldError[] {
  return [
    ...required('provisioner', storageClass.provisioner),
    ...oneOf('reclaimPolicy', storageClass.reclaimPolicy, ['Delete', 'Retain']),
    ...oneOf('volumeBindingMode', storageClass.volumeBindingMode, ['Immediate', 'WaitForFirstConsumer']),
  ];
}

export function validateStorageClassUpdate(storageClass: StorageClass, previous: StorageClass): FieldError[] {
  const errors = validateStorageClass(storageClass);
  for (const key of ['parameters', 'provisioner'] as const) {
    if (!sameValue(storageClass[key], previous[key])) {
      errors.push(forbiddenField(key, `updates to ${key} are forbidden.`));
    }
  }
  if (storageClass.reclaimPolicy !== previous.reclaimPolicy) {
    errors.push(forbiddenField('reclaimPolicy', 'updates to reclaimPolicy are forbidden.'));
  }
  return [...errors, ...unchanged('volumeBindingMode', storageClass.volumeBindingMode, previous.volumeBindingMode)];
}

export function validateCsiDriver({ spec }: CSIDriver): FieldError[] {
  return [
    ...oneOf('spec.fsGroupPolicy', spec.fsGroupPolicy, ['File', 'None', 'ReadWriteOnceWithFSType']),
    ...(spec.volumeLifecycleModes ?? []).flatMap((mode) =>
      oneOf('spec.volumeLifecycleModes', mode, ['Ephemeral', 'Persistent']),
    ),
  ];
}

export function validateCsiDriverUpdate(driver: CSIDriver, previous: CSIDriver): FieldError[] {
  const changed = !sameValue(driver.spec.volumeLifecycleModes, previous.spec.volumeLifecycleModes);
  return [
    ...validateCsiDriver(driver),
    ...(changed ? [invalidField('spec.volumeLifecycleModes', driver.spec.volumeLifecycleModes, immutableText)] : []),
  ];
}
