// Runs a lifecycle handler of a container: a command inside it, an HTTP request to it, or a pause.
import type { Container, LifecycleHandler } from '#kube/api/generated/core-v1.ts';
import type { Clock } from '#kube/process/clock.ts';
import type { RuntimeService } from '../cri/runtime-service.ts';
import { type HttpGet, type HttpTarget, httpTarget } from '../probe/http-get.ts';

/** What hooks need. */
export interface HookTools {
  runtime: RuntimeService;
  httpGet: HttpGet;
  clock: Clock;
  /** Told when a sleep was cut short. */
  sleepCut?(): void;
}

const httpTimeoutMs = 30_000;

/** Makes the request; a server that speaks no TLS is asked again without, as hooks always could be. */
async function get(tools: HookTools, target: HttpTarget, signal: AbortSignal): Promise<void> {
  try {
    await tools.httpGet(target, httpTimeoutMs, signal);
  } catch (error) {
    signal.throwIfAborted();
    const isPlain = /wrong version number|packet length too long|EPROTO/.test((error as Error).message);
    if (target.url.protocol !== 'https:' || !isPlain) throw error;
    const url = new URL(target.url);
    url.protocol = 'http:';
    const { authorization: _secret, ...headers } = target.headers;
    await tools.httpGet({ url, headers }, httpTimeoutMs, signal);
  }
}

/** Runs the handler to its end. Throws when it fails; the message is for the event. */
export async function runHook(
  tools: HookTools,
  handler: LifecycleHandler,
  target: { container: Container; containerId: string; host: string },
  signal: AbortSignal,
): Promise<void> {
  const { exec, httpGet, sleep, tcpSocket } = handler;
  if (exec !== undefined) {
    const result = await tools.runtime.execSync(target.containerId, exec.command ?? [], 0, signal);
    if (result.exitCode !== 0) {
      const command = (exec.command ?? []).join(' ');
      const output = `${result.stdout.toString()}${result.stderr.toString()}`.slice(0, 1024);
      throw new Error(`command '${command}' exited with ${result.exitCode}: ${output}`);
    }
    return;
  }
  if (httpGet !== undefined) {
    // Any answer will do: only a request without one has failed.
    await get(tools, httpTarget(httpGet, target.container, target.host, 'kube-lifecycle/1.36'), signal);
    return;
  }
  if (sleep !== undefined) {
    await tools.clock.sleep(sleep.seconds * 1000, signal).catch((error: unknown) => {
      tools.sleepCut?.();
      throw error;
    });
  }
  if (tcpSocket !== undefined) throw new Error('tcpSocket is no handler of lifecycle hooks');
}
