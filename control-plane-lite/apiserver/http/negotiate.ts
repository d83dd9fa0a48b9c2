// Which form of an answer the client wants: the object, a Table of it, or only its metadata; and in which encoding.
// Clauses are weighed as the reference weighs them: by q, then the more specific first, then in their order.
import { failure, type StatusError } from '#kube/errors/status-error.ts';

export type Representation = 'object' | 'table' | 'metadata';

export const jsonMediaType = 'application/json';
export const yamlMediaType = 'application/yaml';
export const protobufMediaType = 'application/vnd.kubernetes.protobuf';

export type MediaType = typeof jsonMediaType | typeof yamlMediaType | typeof protobufMediaType;

export interface Negotiated {
  representation: Representation;
  mediaType: MediaType;
  /** apiVersion of Tables and PartialObjectMetadata. */
  metaVersion: string;
}

/** What there is to offer, where that is not everything. */
export interface Offer {
  /** Of a custom resource: the object itself has no protobuf form. */
  isCustom?: boolean | undefined;
  /** Events in a stream: YAML has no form for them. */
  isStream?: boolean;
}

const transformations: Readonly<Record<string, Representation>> = {
  Table: 'table',
  PartialObjectMetadata: 'metadata',
  PartialObjectMetadataList: 'metadata',
};

const offered: readonly MediaType[] = [jsonMediaType, yamlMediaType, protobufMediaType];
const plain: Negotiated = { representation: 'object', mediaType: jsonMediaType, metaVersion: 'v1' };

/** Longer headers are no client's: what is beyond is not read. */
const maxClauses = 64;

function notAcceptable({ isStream = false }: Offer): StatusError {
  const types = offered.map((type) => (isStream && type === protobufMediaType ? `${type};stream=watch` : type));
  const listed = types.filter((type) => !isStream || type !== yamlMediaType);
  return failure(406, 'NotAcceptable', `only the following media types are accepted: ${listed.join(', ')}`, {});
}

interface Clause {
  type: string;
  parameters: ReadonlyMap<string, string>;
  q: number;
  /** 2: a type, 1: a range of subtypes, 0: anything. */
  specificity: number;
}

function readClause(text: string): Clause {
  const [type = '', ...rest] = text.split(';').map((part) => part.trim());
  const parameters = new Map(
    rest.map((part) => {
      const at = part.indexOf('=');
      return [part.slice(0, at).trim(), part.slice(at + 1).trim()];
    }),
  );
  const given = parameters.get('q');
  const q = given === undefined ? 1 : Number(given);
  const specificity = type === '*/*' ? 0 : type.endsWith('/*') ? 1 : 2;
  return { type, parameters, q: Number.isNaN(q) ? 1 : q, specificity };
}

function clausesOf(accept: string): Clause[] {
  const clauses = accept.split(',', maxClauses).map(readClause);
  if (clauses.length === 1) return clauses;
  return clauses.filter(({ q }) => q > 0).sort((a, b) => b.q - a.q || b.specificity - a.specificity);
}

const matches = (clause: Clause, type: MediaType): boolean =>
  clause.specificity === 2 ? clause.type === type : clause.specificity === 0 || clause.type === 'application/*';

function asWanted({ parameters }: Clause, mediaType: MediaType, offer: Offer): Negotiated | undefined {
  const stream = parameters.get('stream');
  if (stream !== undefined && (stream !== 'watch' || mediaType === yamlMediaType)) return undefined;
  if (offer.isStream === true && mediaType === yamlMediaType) return undefined;
  const as = parameters.get('as');
  if (as === undefined) {
    return mediaType === protobufMediaType && offer.isCustom === true ? undefined : { ...plain, mediaType };
  }
  const representation = transformations[as];
  const metaVersion = parameters.get('v') ?? 'v1';
  const isKnown = parameters.get('g') === 'meta.k8s.io' && (metaVersion === 'v1' || metaVersion === 'v1beta1');
  if (representation === undefined || !isKnown) return undefined;
  if (representation === 'table' && mediaType === protobufMediaType) return undefined;
  return { representation, mediaType, metaVersion };
}

/** The best form that an Accept header takes; undefined when none will do. */
export function selectForm(accept: string | undefined, offer: Offer = {}): Negotiated | undefined {
  if (accept === undefined || accept === '' || accept === '*/*' || accept === jsonMediaType) return plain;
  for (const clause of clausesOf(accept)) {
    for (const mediaType of offered) {
      const wanted = matches(clause, mediaType) ? asWanted(clause, mediaType, offer) : undefined;
      if (wanted !== undefined) return wanted;
    }
  }
  return undefined;
}

/** Reads an Accept header. Throws StatusError 406. */
export function negotiate(accept: string | undefined, offer: Offer = {}): Negotiated {
  const form = selectForm(accept, offer);
  if (form === undefined) throw notAcceptable(offer);
  return form;
}

/** Throws StatusError 406 when only another form than the object itself would do. */
export function requireObject(accept: string | undefined): void {
  if (negotiate(accept).representation !== 'object') throw notAcceptable({});
}
