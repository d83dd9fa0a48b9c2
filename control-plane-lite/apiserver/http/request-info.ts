// What a request asks for, read from method and URL alone: the vocabulary of authorization, admission and routing.
// Source of the rules: k8s.io/apiserver/pkg/endpoints/request/requestinfo.go.

export interface RequestInfo {
  path: string;
  query: URLSearchParams;
  isResource: boolean;
  /** get, list, watch, create, update, patch, delete, deletecollection, or empty; the lower-case method for other paths. */
  verb: string;
  group: string;
  version: string;
  namespace: string;
  plural: string;
  subresource: string;
  name: string;
  /** Decoded path segments after the subresource, as proxies use them. */
  rest: string;
}

const verbs: Record<string, string> = {
  GET: 'get',
  HEAD: 'get',
  POST: 'create',
  PUT: 'update',
  PATCH: 'patch',
  DELETE: 'delete',
};

const namespaceSubresources = new Set(['status', 'finalize']);

function isTrue(value: string | null): boolean {
  return value !== null && value !== 'false' && value !== '0';
}

function decodeSegment(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}

/** Parses a request line. Never throws: a path that is no resource's is answered as such. */
export function parseRequestInfo(method: string, url: string): RequestInfo {
  const cut = url.indexOf('?');
  const path = cut < 0 ? url : url.slice(0, cut);
  const info: RequestInfo = {
    path,
    query: new URLSearchParams(cut < 0 ? '' : url.slice(cut + 1)),
    isResource: false,
    verb: method.toLowerCase(),
    group: '',
    version: '',
    namespace: '',
    plural: '',
    subresource: '',
    name: '',
    rest: '',
  };
  const segments = path.split('/').slice(1).map(decodeSegment);
  const [root] = segments;
  if (root !== 'api' && root !== 'apis') return info;
  const base = root === 'api' ? 2 : 3;
  if (segments.length <= base || segments[base] === '') return info;
  info.isResource = true;
  info.group = root === 'api' ? '' : (segments[1] ?? '');
  info.version = segments[base - 1] ?? '';
  info.verb = verbs[method] ?? '';
  let parts = segments.slice(base);
  const isLegacyWatch = parts[0] === 'watch' && parts.length > 1;
  if (isLegacyWatch) {
    parts = parts.slice(1);
    info.verb = 'watch';
  }
  if (parts[0] === 'namespaces' && parts.length > 1) {
    info.namespace = parts[1] ?? '';
    if (parts.length > 2 && !namespaceSubresources.has(parts[2] ?? '')) parts = parts.slice(2);
  }
  info.plural = parts[0] ?? '';
  info.name = parts[1] ?? '';
  info.subresource = parts[2] ?? '';
  info.rest = parts.slice(3).join('/');
  if (info.name === '') refineCollectionVerb(info);
  else if (info.verb === 'get' && isTrue(info.query.get('watch')) && info.subresource === '') info.verb = 'watch';
  return info;
}

function refineCollectionVerb(info: RequestInfo): void {
  if (info.verb === 'get') info.verb = isTrue(info.query.get('watch')) ? 'watch' : 'list';
  if (info.verb === 'delete') info.verb = 'deletecollection';
  const named = /^metadata\.name=([^,!=]+)$/.exec(info.query.get('fieldSelector') ?? '');
  if (named !== null && (info.verb === 'list' || info.verb === 'watch' || info.verb === 'deletecollection')) {
    info.name = named[1] ?? '';
  }
}
