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

/** Undefined when the text is not the name of an image. */
export function parseImageReference(text: string): ImageReference | undefined {
  const groups = pattern.exec(text)?.groups;
  if (groups === undefined) return undefined;
  const parts = (groups['name'] ?? '').split('/');
  const [first = ''] = parts;
  const hasHost = parts.length > 1 && (first.includes('.') || first.includes(':') || first === 'localhost');
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
