// The metadata that the server fills in, and what clients may not change.
import { randomInt, randomUUID } from 'node:crypto';
import type { ObjectMeta } from '#kube/api/generated/meta-v1.ts';
import type { KubeObject } from '#kube/api/resource.ts';
import { badRequest } from './status-errors.ts';

const suffixAlphabet = 'bcdfghjklmnpqrstvwxz2456789';
const suffixLength = 5;
const maxGeneratedNameLength = 63;

/** RFC 3339 in whole seconds, as API timestamps are. */
export function timestamp(nowMs: number): string {
  return `${new Date(nowMs).toISOString().slice(0, 19)}Z`;
}

export function randomSuffix(length = suffixLength): string {
  return Array.from({ length }, () => suffixAlphabet.charAt(randomInt(suffixAlphabet.length))).join('');
}

export function generateName(base: string): string {
  return `${base.slice(0, maxGeneratedNameLength - suffixLength)}${randomSuffix()}`;
}

/** Throws when the object names another namespace than the request. */
export function checkNamespace(object: KubeObject, namespace: string): void {
  const named = object.metadata.namespace ?? '';
  if (named !== '' && named !== namespace) {
    throw badRequest('the namespace of the provided object does not match the namespace sent on the request');
  }
}

/** Fills in what a new object gets from the server. The name may still be missing: validation says so. */
export function fillCreatedMeta(object: KubeObject, namespace: string, nowMs: number): void {
  const given: ObjectMeta = object.metadata;
  const generated = given.generateName ?? '';
  const name = (given.name ?? '') === '' && generated !== '' ? generateName(generated) : (given.name ?? '');
  const {
    resourceVersion: _resourceVersion,
    selfLink: _selfLink,
    deletionTimestamp: _deletion,
    deletionGracePeriodSeconds: _grace,
    generation: _generation,
    name: _name,
    namespace: _namespace,
    uid: _uid,
    creationTimestamp: _created,
    generateName: _generateName,
    ...rest
  } = given;
  object.metadata = {
    name,
    ...(generated === '' ? {} : { generateName: generated }),
    ...(namespace === '' ? {} : { namespace }),
    uid: randomUUID(),
    creationTimestamp: timestamp(nowMs),
    ...rest,
  };
}

const keptOnUpdate = [
  'name',
  'generateName',
  'namespace',
  'uid',
  'creationTimestamp',
  'deletionTimestamp',
  'deletionGracePeriodSeconds',
  'generation',
] as const;

/** Puts back what an update cannot change. A new object without managedFields keeps those it had. */
export function carryOverMeta(object: KubeObject, previous: KubeObject): void {
  const { selfLink: _, ...given } = object.metadata;
  const meta: Record<string, unknown> = { ...given };
  for (const field of keptOnUpdate) {
    if (previous.metadata[field] === undefined) delete meta[field];
    else meta[field] = previous.metadata[field];
  }
  meta['managedFields'] ??= previous.metadata.managedFields;
  object.metadata = { ...previousOrder(previous, meta), name: previous.metadata.name };
}

/** Keys in the order they had, new ones last, so that equal objects serialise equally. */
function previousOrder(previous: KubeObject, meta: Record<string, unknown>): Record<string, unknown> {
  const ordered: Record<string, unknown> = {};
  for (const key of Object.keys(previous.metadata)) if (meta[key] !== undefined) ordered[key] = meta[key];
  for (const [key, value] of Object.entries(meta)) if (value !== undefined) ordered[key] = value;
  return ordered;
}
