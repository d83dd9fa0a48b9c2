// Makes one probe of a container, of whichever kind.
import type { Container, Probe } from '#kube/api/generated/core-v1.ts';
import { expandVariables } from '../container/expand-variables.ts';
import { isCriDeadlineExceeded } from '../cri/cri-error.ts';
import type { RuntimeService } from '../cri/runtime-service.ts';
import { probeGrpc } from './grpc/grpc-probe.ts';
import { type HttpGet, httpTarget, resolvePort } from './http-get.ts';
import { dialErrorText, failed, type ProbeResult, success } from './probe-result.ts';
import { probeTcp } from './tcp-probe.ts';

const maxOutputBytes = 10 * 1024;

/** What probes use. */
export interface ProbeTools {
  runtime: RuntimeService;
  httpGet: HttpGet;
}

/** The container that is probed. */
export interface ProbeTarget {
  container: Container;
  containerId: string;
  podIp: string;
}

async function probeExec(
  { runtime }: ProbeTools,
  command: string[],
  containerId: string,
  timeoutSeconds: number,
  signal: AbortSignal,
): Promise<ProbeResult> {
  try {
    const answer = await runtime.execSync(containerId, command, timeoutSeconds, signal);
    const output = Buffer.concat([answer.stdout, answer.stderr]).subarray(0, maxOutputBytes).toString('utf8');
    return answer.exitCode === 0 ? { result: 'success', output } : failed(output);
  } catch (error) {
    signal.throwIfAborted();
    if (isCriDeadlineExceeded(error)) {
      return failed(`command timed out: "${command.join(' ')}" timed out after ${timeoutSeconds}s`);
    }
    return { result: 'error', output: (error as Error).message };
  }
}

async function probeHttp(
  { httpGet }: ProbeTools,
  action: NonNullable<Probe['httpGet']>,
  target: ProbeTarget,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<ProbeResult> {
  const request = httpTarget(action, target.container, target.podIp);
  try {
    const answer = await httpGet(request, timeoutMs, signal);
    if (answer.status >= 200 && answer.status < 300) return { result: 'success', output: answer.body };
    if (answer.status >= 300 && answer.status < 400) {
      return { result: 'warning', output: `Probe terminated redirects, Response body: ${answer.body}` };
    }
    return failed(`HTTP probe failed with statuscode: ${answer.status}`);
  } catch (error) {
    signal.throwIfAborted();
    const { url } = request;
    const { name } = error as Error;
    if (name === 'TimeoutError' || name === 'AbortError') {
      const reason = 'context deadline exceeded (Client.Timeout exceeded while awaiting headers)';
      return failed(`Get "${url.href}": ${reason}`);
    }
    return failed(`Get "${url.href}": ${dialErrorText(error, url.host)}`);
  }
}

/** The command with references to variables that the definition itself gives a value. */
function expandedCommand(command: readonly string[], { env = [] }: Container): string[] {
  const values = new Map(env.map(({ name, value = '' }) => [name, value]));
  return command.map((part) => expandVariables(part, (name) => values.get(name)));
}

/** Runs the probe once. Rejects only when `signal` is aborted. */
export async function runProbe(
  tools: ProbeTools,
  probe: Probe,
  target: ProbeTarget,
  signal: AbortSignal,
): Promise<ProbeResult> {
  const timeoutSeconds = probe.timeoutSeconds !== undefined && probe.timeoutSeconds > 0 ? probe.timeoutSeconds : 1;
  const timeoutMs = timeoutSeconds * 1000;
  const { exec, httpGet, tcpSocket, grpc } = probe;
  try {
    if (exec !== undefined) {
      return await probeExec(
        tools,
        expandedCommand(exec.command ?? [], target.container),
        target.containerId,
        timeoutSeconds,
        signal,
      );
    }
    if (httpGet !== undefined) return await probeHttp(tools, httpGet, target, timeoutMs, signal);
    if (tcpSocket !== undefined) {
      const host = tcpSocket.host !== undefined && tcpSocket.host !== '' ? tcpSocket.host : target.podIp;
      return await probeTcp(host, resolvePort(tcpSocket.port, target.container), timeoutMs, signal);
    }
    if (grpc !== undefined) {
      const port = resolvePort(grpc.port, target.container);
      return await probeGrpc(target.podIp, port, grpc.service ?? '', timeoutMs, signal);
    }
    return success;
  } catch (error) {
    signal.throwIfAborted();
    return { result: 'error', output: (error as Error).message };
  }
}
