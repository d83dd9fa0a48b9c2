// From the bytes of a container's log in CRI form to what `kubectl logs` prints. Contents stay bytes: the runtime cuts
// long lines anywhere, and what containers print need not be text.
import { parseLogHead } from '../container/log-line.ts';

/** What of a log is printed, and how. */
export interface LogSelection {
  timestamps: boolean;
  /** Lines before this time, in milliseconds since the epoch, are left out. */
  sinceMs: number | undefined;
  stream: 'All' | 'Stdout' | 'Stderr';
}

const newline = Buffer.from('\n');
/** Longer than a time, a stream and tags can be. */
const headBytes = 128;

/** A time with all nine digits behind the second, as kubelet prints it whatever the runtime wrote. */
function fixedNanoseconds(timestamp: string): string {
  return timestamp.replace(/(?:\.(\d+))?(Z|[+-]\d\d:\d\d)$/, (_, digits = '', zone) => {
    return `.${digits.padEnd(9, '0').slice(0, 9)}${zone}`;
  });
}

/** Takes the log in pieces and answers what is to be printed so far; keeps a line that is not yet whole. */
export function createLogFormatter(selection: LogSelection): (chunk: Buffer) => Buffer {
  const { timestamps, sinceMs } = selection;
  const stream = selection.stream.toLowerCase();
  const unfinished: Buffer[] = [];
  let continues = false;

  function format(line: Buffer, out: Buffer[]): void {
    const head = parseLogHead(line.subarray(0, headBytes).toString('latin1'));
    if (head === undefined) return;
    if (stream !== 'all' && head.stream !== stream) return;
    if (sinceMs !== undefined && Date.parse(head.timestamp) < sinceMs) return;
    if (timestamps && !continues) out.push(Buffer.from(`${fixedNanoseconds(head.timestamp)} `));
    out.push(line.subarray(head.contentStart));
    if (!head.partial) out.push(newline);
    continues = head.partial;
  }

  return (chunk) => {
    const out: Buffer[] = [];
    let start = 0;
    for (let at = chunk.indexOf(0x0a); at >= 0; at = chunk.indexOf(0x0a, start)) {
      unfinished.push(chunk.subarray(start, at));
      format(unfinished.length === 1 ? chunk.subarray(start, at) : Buffer.concat(unfinished), out);
      unfinished.length = 0;
      start = at + 1;
    }
    // The chunk's memory may be used again for the next one.
    if (start < chunk.length) unfinished.push(Buffer.from(chunk.subarray(start)));
    return Buffer.concat(out);
  };
}
