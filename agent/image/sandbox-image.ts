// The image of sandboxes, from the runtime's own configuration: runtimes that cannot pin images (containerd before 1.7)
// would have it collected while no pod starts, and then start none where there is no registry. Pure.
import { parseImageReference, repositoryOf } from './image-reference.ts';

/** Reads the verbose part of a runtime's status; undefined where it does not tell. */
export function sandboxImageOf(info: Readonly<Record<string, string>>): string | undefined {
  try {
    const config: unknown = JSON.parse(info['config'] ?? '');
    if (typeof config !== 'object' || config === null || !('sandboxImage' in config)) return undefined;
    return typeof config.sandboxImage === 'string' && config.sandboxImage !== '' ? config.sandboxImage : undefined;
  } catch {
    // What other runtimes tell here is not meant for us.
    return undefined;
  }
}

function fullName(text: string): string {
  const reference = parseImageReference(text);
  if (reference === undefined) return text;
  const { digest, tag } = reference;
  return `${repositoryOf(reference)}${digest === undefined ? `:${tag ?? 'latest'}` : `@${digest}`}`;
}

/** Whether both name the same image, docker's short names included. */
export function isSameImage(a: string, b: string): boolean {
  return a === b || fullName(a) === fullName(b);
}
