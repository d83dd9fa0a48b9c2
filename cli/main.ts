// The berth command. The only place that reads the command line, installs signal handlers and sets the exit code.
import { UsageError } from '#kube/process/flags.ts';

/**
 * What takes its arguments itself: components, with the flags of the upstream programs, and the processes in which
 * `berth up` keeps a cluster and works on it. Each loads only what it needs.
 */
const components: Record<string, () => Promise<{ main(argv: readonly string[], signal: AbortSignal): Promise<void> }>> =
  {
    agent: () => import('../agent/main.ts'),
    proxy: () => import('../proxy/main.ts'),
    'control-plane': () => import('../control-plane-lite/main.ts'),
    'up-detached': () => import('./up/detached.ts'),
    'up-worker': () => import('./up/worker.ts'),
  };

/** What is still open when a component has ended, such as a connection, may not keep its process for longer. */
const exitLimitMs = 5000;

async function run(argv: readonly string[], signal: AbortSignal): Promise<void> {
  const [name = '', ...rest] = argv;
  const load = components[name];
  if (load !== undefined) {
    const component = await load();
    await component.main(rest, signal);
    setTimeout(() => process.exit(), exitLimitMs).unref();
    return;
  }
  const { runProgram } = await import('./program.ts');
  const code = await runProgram(argv, signal);
  if (code !== 0) process.exitCode = code;
}

/** Wrong use is one line; anything else shows where it came from. */
function explain(error: unknown): string {
  if (error instanceof UsageError) return error.message;
  const code = (error as { code?: unknown }).code;
  if (code === 'CLIENT_CONFIG' && error instanceof Error) return error.message;
  return error instanceof Error
    ? process.env['BERTH_DEBUG']
      ? (error.stack ?? error.message)
      : error.message
    : String(error);
}

const stop = new AbortController();
for (const name of ['SIGTERM', 'SIGINT'] as const) {
  process.on(name, () => {
    // A second Ctrl-C means now.
    if (stop.signal.aborted && name === 'SIGINT') process.exit(130);
    stop.abort(new Error(`received ${name}`));
  });
}

try {
  await run(process.argv.slice(2), stop.signal);
  process.exitCode ??= 0;
} catch (error) {
  if (stop.signal.aborted && error === stop.signal.reason) {
    process.exitCode = 0;
  } else {
    process.stderr.write(`berth: ${explain(error)}\n`);
    process.exitCode = 1;
  }
}
