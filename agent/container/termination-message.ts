// The message a container leaves behind: its termination log, or the end of its output.
import { open } from 'node:fs/promises';
import { parseLogLine } from './log-line.ts';

const maxMessageBytes = 4096;
const maxLogBytes = 2048;
const maxLogLines = 80;

async function readEnd(path: string, bytes: number): Promise<string> {
  const file = await open(path, 'r');
  try {
    const { size } = await file.stat();
    const length = Math.min(size, bytes);
    const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, size - length);
    return buffer.subarray(0, bytesRead).toString('utf8');
  } finally {
    await file.close();
  }
}

function isMissing(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === 'ENOENT';
}

async function logTail(path: string): Promise<string> {
  // A log line carries about 40 bytes of its own before each text.
  const text = await readEnd(path, maxLogBytes + maxLogLines * 64);
  const lines = text.split('\n').slice(-maxLogLines - 1);
  const content = lines
    .map((line) => parseLogLine(line))
    .map((line) => (line === undefined ? '' : line.partial ? line.content : `${line.content}\n`))
    .join('');
  return Buffer.from(content).subarray(-maxLogBytes).toString('utf8');
}

/**
 * Reads the message. `hostPath` is the file mounted as termination log; with `fallback` the end of `logPath`
 * is used when that file is empty. Absent files give an empty message.
 */
export async function readTerminationMessage(
  hostPath: string | undefined,
  logPath: string,
  fallback: boolean,
): Promise<string> {
  try {
    const message = hostPath === undefined ? '' : await readEnd(hostPath, maxMessageBytes);
    if (message !== '' || !fallback) return message;
    return await logTail(logPath);
  } catch (error) {
    if (isMissing(error)) return '';
    return `Error on reading termination log ${hostPath}: ${(error as Error).message}`;
  }
}
