// Names of images: registry, path, tag and digest, with docker's defaults.

/** A name taken apart. */
export interface ImageReference {
  host: string;
  path: string;
  tag: string | undefined;
  digest: string | undefined;
}

const component = '[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*';
const pattern = new RegExp(
  `^(?<name>(?:[a-zA-Z0-9.-]+(?::\\d+)?/)?${component}(?:/${component})*)(?::(?<tag>[\\w][\\w.-]{0,127}))?(?:@(?<digest>[a-z0-9+._-]+:[0-9a-f]{32,}))?$`,
);

/** Whether the first of several parts is a registry: it looks like an address, or is no name of a repository. */
function isHost(part: string): boolean {
  return /[.:]/.test(part) || part === 'localhost' || part !== part.toLowerCase();
}

/** Why a text is not the name of an image, in the words of the library that runtimes and kubelets read names with. */
export function imageNameFault(text: string): string {
  if (/^[0-9a-f]{64}$/.test(text)) {
    return `invalid repository name (${text}), cannot specify 64-byte hexadecimal strings`;
  }
  const slash = text.indexOf('/');
  const hasHost = slash > 0 && isHost(text.slice(0, slash));
  const rest = hasHost ? text.slice(slash + 1) : slash > 0 ? text : `library/${text}`;
  const repository = rest.split('@')[0]?.split(':')[0] ?? '';
  const isUpper = repository !== repository.toLowerCase();
  return `invalid reference format${isUpper ? `: repository name (${repository}) must be lowercase` : ''}`;
}

/** Undefined when the text is not the name of an image. */
export function parseImageReference(text: string): ImageReference | undefined {
  const groups = pattern.exec(text)?.groups;
  if (groups === undefined || /^[0-9a-f]{64}$/.test(text)) return undefined;
  const parts = (groups['name'] ?? '').split('/');
  const [first = ''] = parts;
  const hasHost = parts.length > 1 && isHost(first);
  if (hasHost) parts.shift();
  const path = parts.join('/');
  if (path !== path.toLowerCase()) return undefined;
  const host = hasHost ? first : 'docker.io';
  const { tag, digest } = groups;
  return { host, path: host === 'docker.io' && parts.length === 1 ? `library/${path}` : path, tag, digest };
}

/** The name with `:latest` where it has neither tag nor digest. */
export function withDefaultTag(text: string, reference: ImageReference): string {
  return reference.tag === undefined && reference.digest === undefined ? `${text}:latest` : text;
}

/** The name without tag and digest, with its registry. */
export function repositoryOf({ host, path }: ImageReference): string {
  return `${host}/${path}`;
}
