// The hash by which a changed container definition is noticed. Equal to kubelet's, so that a change of agent
// restarts nothing (pkg/kubelet/container/helpers.go: FNV-32a over the dump of the JSON of name and image).
import type { Container } from '#kube/api/generated/core-v1.ts';

/** FNV-1a of 32 bits. */
export function fnv32a(bytes: Uint8Array): number {
  let hash = 0x811c9dc5;
  for (const byte of bytes) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash >>> 0;
}

/** A value as the reference prints it before it hashes it: its Go type, then its content. */
export function goDump(value: string | Uint8Array): string {
  return typeof value === 'string' ? `(string)${value}` : `([]uint8)[${value.join(' ')}]`;
}

/** Lower-case hexadecimal hash of what must not change under a running container. */
export function containerHash(container: Pick<Container, 'name' | 'image'>): string {
  // Go's encoder escapes these characters in JSON text.
  const json = JSON.stringify({ image: container.image ?? '', name: container.name }).replace(
    /[<>&\u2028\u2029]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
  return fnv32a(Buffer.from(goDump(Buffer.from(json)))).toString(16);
}
