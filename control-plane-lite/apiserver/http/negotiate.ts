// Which form of an answer the client wants: the object, a Table of it, or only its metadata.
import { failure, type StatusError } from '#kube/errors/status-error.ts';

export type Representation = 'object' | 'table' | 'metadata';

export interface Negotiated {
  representation: Representation;
  mediaType: 'application/json' | 'application/yaml';
  /** apiVersion of Tables and PartialObjectMetadata. */
  metaVersion: string;
}

const transformations: Record<string, Representation> = {
  Table: 'table',
  PartialObjectMetadata: 'metadata',
  PartialObjectMetadataList: 'metadata',
};

const plain: Negotiated = { representation: 'object', mediaType: 'application/json', metaVersion: 'v1' };

function notAcceptable(): StatusError {
  const accepted = 'application/json, application/yaml';
  const message = `only the following media types are accepted: ${accepted}`;
  return failure(406, 'NotAcceptable', message, {});
}

function readClause(clause: string): { type: string; parameters: Map<string, string> } {
  const [type = '', ...rest] = clause.split(';').map((part) => part.trim());
  const parameters = new Map(
    rest.map((part) => {
      const at = part.indexOf('=');
      return [part.slice(0, at), part.slice(at + 1)];
    }),
  );
  return { type, parameters };
}

/** Reads an Accept header. The first clause that can be served wins. Throws StatusError 406. */
export function negotiate(accept: string | undefined): Negotiated {
  if (accept === undefined || accept === '' || accept === '*/*' || accept === 'application/json') return plain;
  for (const clause of accept.split(',')) {
    const { type, parameters } = readClause(clause);
    const isYaml = type === 'application/yaml';
    if (!isYaml && type !== 'application/json' && type !== '*/*' && type !== 'application/*') continue;
    const mediaType = isYaml ? 'application/yaml' : 'application/json';
    const as = parameters.get('as');
    if (as === undefined) return { ...plain, mediaType };
    const representation = transformations[as];
    const metaVersion = parameters.get('v') ?? 'v1';
    const isKnown = parameters.get('g') === 'meta.k8s.io' && (metaVersion === 'v1' || metaVersion === 'v1beta1');
    if (representation !== undefined && isKnown) return { representation, mediaType, metaVersion };
  }
  throw notAcceptable();
}

/** Throws StatusError 406 when only another form than the object itself would do. */
export function requireObject(accept: string | undefined): void {
  if (negotiate(accept).representation !== 'object') throw notAcceptable();
}
