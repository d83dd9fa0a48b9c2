// One line of a container log in CRI form: `<RFC3339Nano> <stream> <F|P> <content>`.

/** A decoded line. `partial`: the runtime split a longer line, and this is not its end. */
export interface LogLine {
  timestamp: string;
  stream: 'stdout' | 'stderr';
  partial: boolean;
  content: string;
}

/** What stands before the content of a line. */
export interface LogLineHead extends Omit<LogLine, 'content'> {
  /** Where the content begins; the same in characters and in bytes. */
  contentStart: number;
}

/** Decodes the beginning of a line; undefined when it is not in this form. */
export function parseLogHead(line: string): LogLineHead | undefined {
  const first = line.indexOf(' ');
  const second = line.indexOf(' ', first + 1);
  const third = line.indexOf(' ', second + 1);
  if (first < 0 || second < 0 || third < 0) return undefined;
  const stream = line.slice(first + 1, second);
  const tags = line.slice(second + 1, third);
  if (stream !== 'stdout' && stream !== 'stderr') return undefined;
  return { timestamp: line.slice(0, first), stream, partial: tags.split(':')[0] === 'P', contentStart: third + 1 };
}

/** Decodes one line without its newline; undefined when it is not in this form. */
export function parseLogLine(line: string): LogLine | undefined {
  const head = parseLogHead(line);
  if (head === undefined) return undefined;
  const { contentStart, ...rest } = head;
  return { ...rest, content: line.slice(contentStart) };
}
