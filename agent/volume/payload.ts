// The files of a volume that is made from API objects, before they are written.

/** One file: its bytes and permission bits. */
export interface PayloadFile {
  content: Buffer;
  mode: number;
  /** Owner, where the file is for one user only. */
  uid?: number | undefined;
}

/** Files by path relative to the volume. */
export type Payload = Map<string, PayloadFile>;

/** A volume that cannot be prepared now; step and message go into the FailedMount event. */
export class VolumeError extends Error {
  readonly code = 'VOLUME';
  /** What failed, in upstream's words, such as "MountVolume.MountDevice failed"; absent: "MountVolume.SetUp failed". */
  readonly step: string | undefined;

  constructor(message: string, options: ErrorOptions & { step?: string } = {}) {
    super(message, options);
    this.name = 'VolumeError';
    this.step = options.step;
  }
}

/** Throws for a path that would leave the volume or collide with the writer's own names. */
export function validatePayloadPath(path: string): void {
  const parts = path.split('/');
  if (path === '' || path.length > 4096) throw new VolumeError(`invalid path: "${path}" is empty or too long`);
  if (path.startsWith('/')) throw new VolumeError(`invalid path: must be relative path: ${path}`);
  if (parts.includes('..')) throw new VolumeError(`invalid path: must not contain '..': ${path}`);
  if (parts[0]?.startsWith('..')) throw new VolumeError(`invalid path: must not start with '..': ${path}`);
  if (parts.some((part) => part === '' || part.length > 255)) throw new VolumeError(`invalid path: ${path}`);
}
