// Questions to the node's logs: /logs/?query=SERVICE-OR-FILE with options (pkg/kubelet/kubelet_server_journal.go).
// Decoding is pure; reading asks the journal, and files below /var/log where that knows nothing.
import { readFile, realpath, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { parseTime } from '#kube/api/time.ts';
import type { Exec } from '#kube/process/exec.ts';

const maxFileBytes = 64 * 1024 * 1024;
const journalTimeoutMs = 30_000;

/** A decoded question. */
export interface NodeLogQuery {
  services: string[];
  files: string[];
  boot: number | undefined;
  sinceTime: string | undefined;
  untilTime: string | undefined;
  tailLines: number | undefined;
  pattern: string | undefined;
}

function single(query: URLSearchParams, name: string): string | undefined {
  const value = query.get(name);
  return value === null || value === '' ? undefined : value;
}

/** Decodes and checks; a text is what is wrong. Undefined without a question. */
export function parseNodeLogQuery(query: URLSearchParams): NodeLogQuery | string | undefined {
  const asked = query.getAll('query').filter((item) => item !== '');
  const options = ['boot', 'sinceTime', 'untilTime', 'tailLines', 'pattern'];
  if (asked.length === 0) return options.some((name) => single(query, name)) ? 'query: Required value' : undefined;
  const files = asked.filter((item) => item.includes('/'));
  const services = asked.filter((item) => !item.includes('/'));
  if (files.length > 0 && services.length > 0) return 'query: Invalid value: cannot specify a file and service';
  if (files.length > 1) return 'query: Invalid value: only one file can be specified';
  if (files.some((file) => file.split('/').includes('..'))) return 'query: Invalid value: file paths must be absolute';
  if (services.some((name) => !/^[a-zA-Z0-9@_:.][a-zA-Z0-9@_:.-]*$/.test(name))) {
    return 'query: Invalid value: not a name of a service';
  }
  const boot = single(query, 'boot');
  if (boot !== undefined && !/^-?\d{1,6}$/.test(boot)) return 'boot: Invalid value: must be a whole number';
  if (Number(boot ?? 0) > 0) return 'boot: Invalid value: must be less than or equal to 0';
  const tail = single(query, 'tailLines');
  if (tail !== undefined && !/^\d{1,9}$/.test(tail)) return 'tailLines: Invalid value: must be 0 or more';
  const [sinceTime, untilTime] = [single(query, 'sinceTime'), single(query, 'untilTime')];
  for (const [name, time] of Object.entries({ sinceTime, untilTime })) {
    if (time !== undefined && parseTime(time) === undefined) return `${name}: Invalid value: invalid time format`;
  }
  if ((parseTime(untilTime) ?? Number.POSITIVE_INFINITY) < (parseTime(sinceTime) ?? 0)) {
    return 'untilTime: Invalid value: must be after `sinceTime`';
  }
  if (
    files.length > 0 &&
    [boot, tail, sinceTime, untilTime, single(query, 'pattern')].some((item) => item !== undefined)
  ) {
    return 'query: Invalid value: cannot specify file with boot, sinceTime, untilTime, tailLines or pattern';
  }
  return {
    services,
    files,
    boot: boot === undefined ? undefined : Number(boot),
    sinceTime,
    untilTime,
    tailLines: tail === undefined ? undefined : Number(tail),
    pattern: single(query, 'pattern'),
  };
}

/** The arguments of journalctl for the question. */
export function journalArguments(query: NodeLogQuery): string[] {
  const time = (text: string) => new Date(parseTime(text) ?? 0).toISOString().slice(0, 19).replace('T', ' ');
  return [
    '--utc',
    '--no-pager',
    '--output=short-precise',
    ...query.services.map((name) => `--unit=${name}`),
    ...(query.sinceTime === undefined ? [] : [`--since=${time(query.sinceTime)}`]),
    ...(query.untilTime === undefined ? [] : [`--until=${time(query.untilTime)}`]),
    ...(query.tailLines === undefined ? [] : [`--lines=${query.tailLines}`]),
    ...(query.pattern === undefined ? [] : [`--grep=${query.pattern}`]),
    ...(query.boot === undefined ? [] : [`--boot=${query.boot}`]),
  ];
}

async function readBelow(root: string, name: string): Promise<string | undefined> {
  const base = await realpath(root);
  const path = await realpath(join(base, name)).catch(() => undefined);
  if (path === undefined || !path.startsWith(`${base}/`)) return undefined;
  const found = await stat(path);
  return found.isFile() && found.size <= maxFileBytes ? readFile(path, 'utf8') : undefined;
}

/** Answers the question; undefined where nothing is known of it. */
export async function readNodeLogs(query: NodeLogQuery, root: string, exec: Exec): Promise<string | undefined> {
  for (const file of query.files) return readBelow(root, file);
  const journal = await exec('journalctl', journalArguments(query), { timeoutMs: journalTimeoutMs }).catch(
    () => undefined,
  );
  if (journal?.exitCode === 0 && !journal.stdout.startsWith('-- No entries --')) return journal.stdout;
  for (const name of query.services) {
    for (const file of [`${name}.log`, `${name}/${name}.log`, name]) {
      const text = await readBelow(root, file);
      if (text === undefined) continue;
      return query.tailLines === undefined
        ? text
        : text
            .split('\n')
            .slice(-query.tailLines - 1)
            .join('\n');
    }
  }
  return undefined;
}
