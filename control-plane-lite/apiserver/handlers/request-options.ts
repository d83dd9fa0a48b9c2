// Options of writes from the query, and the context that verbs get of a request.
import type { RequestContext } from '../../registry/request-context.ts';
import type { Exchange } from '../http/exchange.ts';
import { invalidOption } from '../http/invalid-option.ts';

function parseDryRun(query: URLSearchParams, verb: string): boolean {
  const values = query.getAll('dryRun').filter((value) => value !== '');
  const wrong = values.find((value) => value !== 'All');
  if (wrong === undefined) return values.length > 0;
  const message = `Unsupported value: ${JSON.stringify(wrong)}: supported values: "All"`;
  throw invalidOption(verb, 'dryRun', 'FieldValueNotSupported', message);
}

/** The manager of a request that names none: the client program, from its User-Agent. */
function managerFromAgent(userAgent: string | undefined): string {
  return (userAgent ?? 'unknown').split('/')[0]?.slice(0, 128) ?? 'unknown';
}

/** Throws StatusError for options that cannot be. */
export function requestContext(exchange: Exchange): RequestContext {
  const { query } = exchange.info;
  const manager = query.get('fieldManager') ?? '';
  if (manager.length > 128) {
    throw invalidOption(
      exchange.info.verb,
      'fieldManager',
      'FieldValueTooLong',
      'Too long: may not be more than 128 bytes',
    );
  }
  return {
    user: exchange.user,
    nowMs: exchange.nowMs,
    dryRun: parseDryRun(query, exchange.info.verb),
    fieldManager: manager === '' ? managerFromAgent(exchange.request.headers['user-agent']) : manager,
    warn: (text) => exchange.warnings.push(text),
    annotate: (key, value) => {
      if (exchange.audit !== undefined) exchange.audit.annotations[key] = value;
    },
  };
}
