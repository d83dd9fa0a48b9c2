// Keys that a mapping of a YAML text has twice, as strict field validation of configurations tells them.
import { LineCounter, parseDocument } from 'yaml';
import { badRequest } from '../../registry/status-errors.ts';

/** Throws StatusError 400 with the reference's words when a key is there twice. */
export function refuseDuplicateKeys(text: string): void {
  const lines = new LineCounter();
  const { errors } = parseDocument(text, { version: '1.1', uniqueKeys: true, lineCounter: lines, logLevel: 'error' });
  const twice = errors.filter(({ code }) => code === 'DUPLICATE_KEY');
  if (twice.length === 0) return;
  const said = twice.map(({ pos: [from] }) => {
    const [, double, single, plain = ''] = /^(?:"([^"]*)"|'([^']*)'|([^:\n]*))/.exec(text.slice(from)) ?? [];
    const key = double ?? single ?? plain.trim();
    return `  line ${lines.linePos(from).line}: key ${JSON.stringify(key)} already set in map`;
  });
  throw badRequest(
    `error strict decoding YAML: error converting YAML to JSON: yaml: unmarshal errors:\n${said.join('\n')}`,
  );
}
