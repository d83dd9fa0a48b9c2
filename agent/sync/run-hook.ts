// Runs a lifecycle handler of a container: a command inside it, an HTTP request to it, or a pause.
import type { Container, LifecycleHandler } from '#kube/api/generated/core-v1.ts';
import type { Clock } from '#kube/process/clock.ts';
import type { RuntimeService } from '../cri/runtime-service.ts';
import { type HttpGet, httpTarget } from '../probe/http-get.ts';

/** What hooks need. */
export interface HookTools {
  runtime: RuntimeService;
  httpGet: HttpGet;
  clock: Clock;
}

const httpTimeoutMs = 30_000;

/** Runs the handler to its end. Throws when it fails; the message is for the event. */
export async function runHook(
  tools: HookTools,
  handler: LifecycleHandler,
  target: { container: Container; containerId: string; host: string },
  signal: AbortSignal,
): Promise<void> {
  const { exec, httpGet, sleep } = handler;
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
    const request = httpTarget(httpGet, target.container, target.host);
    const answer = await tools.httpGet(request, httpTimeoutMs, signal);
    if (answer.status >= 400) throw new Error(`HTTP lifecycle hook got status ${answer.status}`);
    return;
  }
  if (sleep !== undefined) await tools.clock.sleep(sleep.seconds * 1000, signal);
}
