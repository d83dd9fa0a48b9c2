// The only place that starts processes: arguments as arrays, never a shell.
import type { Options } from 'execa';

export interface ExecOptions {
  /** Written to standard input. */
  input?: string | Uint8Array | undefined;
  signal?: AbortSignal | undefined;
  timeoutMs?: number | undefined;
  env?: Record<string, string> | undefined;
  cwd?: string | undefined;
}

export interface ExecResult {
  exitCode: number;
  stdout: string;
  stderr: string;
}

/** Runs one program to its end. Resolves whatever the exit code; rejects when it cannot be started. */
export type Exec = (file: string, args: readonly string[], options?: ExecOptions) => Promise<ExecResult>;

/** A program that ended with a non-zero code, where the caller wanted zero. */
export class ExecError extends Error {
  readonly code = 'EXEC_FAILED';
  readonly result: ExecResult;

  constructor(file: string, args: readonly string[], result: ExecResult) {
    const said = result.stderr.trim() || result.stdout.trim();
    super(`${[file, ...args].join(' ')} ended with ${result.exitCode}: ${said.slice(0, 2000)}`);
    this.name = 'ExecError';
    this.result = result;
  }
}

/** Runs programs of the machine. */
export const systemExec: Exec = async (file, args, options = {}) => {
  const execaOptions: Options = {
    reject: false,
    stripFinalNewline: false,
    ...(options.input === undefined ? {} : { input: options.input }),
    ...(options.signal === undefined ? {} : { cancelSignal: options.signal }),
    ...(options.timeoutMs === undefined ? {} : { timeout: options.timeoutMs }),
    ...(options.env === undefined ? {} : { env: options.env }),
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  };
  // Loaded with the first program: a process that starts none does without its megabytes.
  const { execa } = await import('execa');
  const result = await execa(file, args, execaOptions);
  if (result.exitCode === undefined) throw new Error(`cannot run ${file}: ${result.shortMessage}`, { cause: result });
  return { exitCode: result.exitCode, stdout: String(result.stdout), stderr: String(result.stderr) };
};

/** As `exec`, but a non-zero exit code throws ExecError. Returns standard output. */
export async function execOrThrow(
  exec: Exec,
  file: string,
  args: readonly string[],
  options?: ExecOptions,
): Promise<string> {
  const result = await exec(file, args, options);
  if (result.exitCode !== 0) throw new ExecError(file, args, result);
  return result.stdout;
}
