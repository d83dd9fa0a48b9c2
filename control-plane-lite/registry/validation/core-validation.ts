// Rules of config maps, secrets, namespaces, nodes and events.
import type { ConfigMap, Event, Node, Secret } from '#kube/api/generated/core-v1.ts';
import { configMapKeyFaults, qualifiedNameFaults } from '#kube/api/names.ts';
import {
  type FieldError,
  forbiddenField,
  invalidField,
  requiredField,
  tooLongField,
} from '#kube/errors/field-error.ts';
import { oneOf, requiredSyntax, sameValue, unchanged } from './field-checks.ts';

/** One mebibyte: the most a config map or secret may hold. */
const maxDataBytes = 1024 * 1024;

function keys(field: string, map: object | undefined): FieldError[] {
  return Object.keys(map ?? {}).flatMap((key) =>
    configMapKeyFaults(key).map((fault) => invalidField(`${field}[${key}]`, key, fault)),
  );
}

export function validateConfigMap(map: ConfigMap): FieldError[] {
  const errors = keys('data', map.data);
  for (const key of Object.keys(map.data ?? {})) {
    if (map.binaryData?.[key] !== undefined) {
      errors.push(invalidField(`data[${key}]`, key, 'duplicate of key present in binaryData'));
    }
  }
  errors.push(...keys('binaryData', map.binaryData));
  const textBytes = Object.values(map.data ?? {}).reduce((sum, value) => sum + Buffer.byteLength(value), 0);
  const bytes = Object.values(map.binaryData ?? {}).reduce(
    (sum, value) => sum + Buffer.byteLength(value, 'base64'),
    textBytes,
  );
  if (bytes > maxDataBytes) errors.push(tooLongField('', maxDataBytes));
  return errors;
}

export function validateConfigMapUpdate(map: ConfigMap, previous: ConfigMap): FieldError[] {
  const errors: FieldError[] = [];
  if (previous.immutable === true) {
    if (map.immutable !== true) errors.push(forbiddenField('immutable', 'field is immutable when `immutable` is set'));
    for (const key of ['data', 'binaryData'] as const) {
      if (!sameValue(map[key], previous[key]))
        errors.push(forbiddenField(key, 'field is immutable when `immutable` is set'));
    }
  }
  return [...errors, ...validateConfigMap(map)];
}

const requiredSecretKeys: Record<string, string[]> = {
  'kubernetes.io/dockercfg': ['.dockercfg'],
  'kubernetes.io/dockerconfigjson': ['.dockerconfigjson'],
  'kubernetes.io/ssh-auth': ['ssh-privatekey'],
  'kubernetes.io/tls': ['tls.crt', 'tls.key'],
};

export function validateSecret(secret: Secret): FieldError[] {
  const data = secret.data ?? {};
  const errors = keys('data', data);
  const bytes = Object.values(data).reduce((sum, value) => sum + Buffer.byteLength(value, 'base64'), 0);
  if (bytes > maxDataBytes) errors.push(tooLongField('data', maxDataBytes));
  if (secret.type === 'kubernetes.io/service-account-token') {
    if (!secret.metadata.annotations?.['kubernetes.io/service-account.name']) {
      errors.push(requiredField('metadata.annotations[kubernetes.io/service-account.name]'));
    }
  }
  if (secret.type === 'kubernetes.io/basic-auth' && data['username'] === undefined && data['password'] === undefined) {
    errors.push(requiredField('data[username]'), requiredField('data[password]'));
  }
  for (const key of requiredSecretKeys[secret.type ?? ''] ?? []) {
    const value = data[key];
    if (value === undefined) errors.push(requiredField(`data[${key}]`));
    else if (key.startsWith('.docker') && !isJson(value)) {
      errors.push(invalidField(`data[${key}]`, '<secret contents redacted>', 'invalid JSON'));
    }
  }
  return errors;
}

function isJson(base64: string): boolean {
  try {
    JSON.parse(Buffer.from(base64, 'base64').toString('utf8'));
    return true;
  } catch {
    return false;
  }
}

export function validateSecretUpdate(secret: Secret, previous: Secret): FieldError[] {
  const errors = unchanged('type', secret.type, previous.type);
  if (previous.immutable === true) {
    if (secret.immutable !== true)
      errors.push(forbiddenField('immutable', 'field is immutable when `immutable` is set'));
    if (!sameValue(secret.data, previous.data)) {
      errors.push(forbiddenField('data', 'field is immutable when `immutable` is set'));
    }
  }
  return [...errors, ...validateSecret(secret)];
}

export function validateNode({ spec }: Node): FieldError[] {
  const seen = new Set<string>();
  return (spec.taints ?? []).flatMap((taint, i) => {
    const at = `spec.taints[${i}]`;
    const errors = requiredSyntax(`${at}.key`, taint.key, qualifiedNameFaults);
    if (taint.effect === '') errors.push(requiredField(`${at}.effect`));
    else errors.push(...oneOf(`${at}.effect`, taint.effect, ['NoSchedule', 'PreferNoSchedule', 'NoExecute']));
    const id = `${taint.key}:${taint.effect}`;
    if (seen.has(id)) {
      const text = 'taints must be unique by key and effect pair';
      errors.push({
        field: at,
        reason: 'FieldValueDuplicate',
        message: `Duplicate value: ${JSON.stringify(taint)}: ${text}`,
      });
    }
    seen.add(id);
    return errors;
  });
}

/** The old field is the first of the list; where they differ, it stands alone. */
function podRangesOf({ spec: { podCIDR = '', podCIDRs = [] } }: Node): string[] {
  return podCIDR === '' || podCIDR === podCIDRs[0] ? podCIDRs : [podCIDR];
}

/** A node's pod ranges and provider id are set once. */
export function validateNodeUpdate(node: Node, previous: Node): FieldError[] {
  const errors = validateNode(node);
  if ((previous.spec.podCIDRs ?? []).length > 0 && !sameValue(podRangesOf(node), podRangesOf(previous))) {
    errors.push(forbiddenField('spec.podCIDRs', 'node updates may not change podCIDR except from "" to valid'));
  }
  if (previous.spec.providerID && node.spec.providerID !== previous.spec.providerID) {
    errors.push(forbiddenField('spec.providerID', 'node updates may not change providerID except from "" to valid'));
  }
  return errors;
}

export function validateEvent(event: Event): FieldError[] {
  const involved = event.involvedObject.namespace ?? '';
  const { namespace } = event.metadata;
  const matches = involved === '' ? namespace === 'default' || namespace === 'kube-system' : involved === namespace;
  return matches ? [] : [invalidField('involvedObject.namespace', involved, 'does not match event.namespace')];
}
