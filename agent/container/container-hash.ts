// The hash by which a changed container definition is noticed. Equal to kubelet's, so that a change of agent
// restarts nothing (pkg/kubelet/container/helpers.go: FNV-32a over the dump of the JSON of name and image).
import type { Container } from '#kube/api/generated/core-v1.ts';

function fnv32a(bytes: Uint8Array): number {
  let hash = 0x811c9dc5;
  for (const byte of bytes) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash >>> 0;
}

/** Lower-case hexadecimal hash of what must not change under a running container. */
export function containerHash(container: Pick<Container, 'name' | 'image'>): string {
  // Go's encoder escapes these characters in JSON text.
  const json = JSON.stringify({ image: container.image ?? '', name: container.name }).replace(
    /[<>&\u2028\u2029]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
  const dump = `([]uint8)[${[...Buffer.from(json)].join(' ')}]`;
  return fnv32a(Buffer.from(dump)).toString(16);
}
