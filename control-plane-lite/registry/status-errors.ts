// The failures that the registry answers with, in the reference's words.
import type { Resource } from '#kube/api/resource.ts';
import { failure, StatusError } from '#kube/errors/status-error.ts';

type Named = Pick<Resource, 'group' | 'plural'>;

/** `deployments.apps`, or the plural alone for the core group. */
export function qualifiedResource({ group, plural }: Named): string {
  return group === '' ? plural : `${plural}.${group}`;
}

const detailsOf = ({ group, plural }: Named, name: string) => ({
  name,
  ...(group === '' ? {} : { group }),
  kind: plural,
});

export function notFound(resource: Named, name: string): StatusError {
  const message = `${qualifiedResource(resource)} ${JSON.stringify(name)} not found`;
  return failure(404, 'NotFound', message, detailsOf(resource, name));
}

export function alreadyExists(resource: Named, name: string): StatusError {
  const message = `${qualifiedResource(resource)} ${JSON.stringify(name)} already exists`;
  return failure(409, 'AlreadyExists', message, detailsOf(resource, name));
}

export function conflict(resource: Named, name: string, why: string): StatusError {
  const message = `Operation cannot be fulfilled on ${qualifiedResource(resource)} ${JSON.stringify(name)}: ${why}`;
  return failure(409, 'Conflict', message, detailsOf(resource, name));
}

export const modifiedConflict = (resource: Named, name: string): StatusError =>
  conflict(
    resource,
    name,
    'the object has been modified; please apply your changes to the latest version and try again',
  );

export function forbidden(resource: Named, name: string, why: string): StatusError {
  const named = name === '' ? '' : ` ${JSON.stringify(name)}`;
  const message = `${qualifiedResource(resource)}${named} is forbidden: ${why}`;
  return failure(403, 'Forbidden', message, detailsOf(resource, name));
}

export function badRequest(message: string): StatusError {
  return failure(400, 'BadRequest', message);
}

/** A failure that the reference answers without a reason. */
export function unexplained(message: string): StatusError {
  return new StatusError({ kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Failure', message, code: 500 });
}

/** The reference's router knows the path, but no such method there. */
export function methodNotAllowed(): StatusError {
  return failure(405, 'MethodNotAllowed', 'the server does not allow this method on the requested resource', {});
}

/** The reference's router knows the group, but nothing at this path. */
export function pathNotFound(): StatusError {
  return failure(404, 'NotFound', 'the server could not find the requested resource', {});
}

export function methodNotSupported(resource: Named, action: string): StatusError {
  const message = `${action} is not supported on resources of kind ${JSON.stringify(qualifiedResource(resource))}`;
  return failure(405, 'MethodNotAllowed', message, { ...detailsOf(resource, '') });
}
