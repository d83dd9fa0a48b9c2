// From a pod template to the pod a controller creates, and the comparison of templates.
import type { Pod, PodTemplateSpec } from '#kube/api/generated/core-v1.ts';
import { controllerReference } from '#kube/api/owner-references.ts';
import type { Draft, KubeObject, Resource } from '#kube/api/resource.ts';

/** The pod that `owner` creates from the template; the server completes its name. */
export function podFromTemplate(template: PodTemplateSpec, resource: Resource, owner: KubeObject): Draft<Pod> {
  const { labels, annotations, finalizers } = template.metadata ?? {};
  const base = owner.metadata.name;
  return {
    metadata: {
      generateName: `${base}-`,
      namespace: owner.metadata.namespace,
      ...(labels === undefined ? {} : { labels }),
      ...(annotations === undefined ? {} : { annotations }),
      ...(finalizers === undefined ? {} : { finalizers }),
      ownerReferences: [controllerReference(resource, owner)],
    },
    spec: template.spec ?? { containers: [] },
  };
}

/** JSON with sorted keys, so that equal values have equal texts. Undefined, null and empty members are left out. */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_, member: unknown) => {
    if (typeof member !== 'object' || member === null || Array.isArray(member)) return member;
    const entries = Object.entries(member).filter(([, entry]) => entry !== undefined && entry !== null);
    return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)));
  });
}

const hashAlphabet = 'bcdfghjklmnpqrstvwxz2456789';

/** A short hash of a value and a collision count: FNV-1a of its canonical text, in characters safe for names. */
export function shortHash(value: unknown, collisionCount: number | undefined): string {
  let hash = 0x811c9dc5;
  const text = `${canonicalJson(value)}${collisionCount === undefined ? '' : collisionCount}`;
  for (const byte of Buffer.from(text)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return [...String(hash)].map((digit) => hashAlphabet.charAt(Number(digit) * 2 + 1)).join('');
}
