// What one probe found.

/**
 * `output` is for the event. `warning` counts as success; `error`: the probe itself could not be made, which decides
 * nothing.
 */
export interface ProbeResult {
  result: 'success' | 'warning' | 'failure' | 'error';
  output: string;
}

export const success: ProbeResult = { result: 'success', output: '' };

export function failed(output: string): ProbeResult {
  return { result: 'failure', output };
}

/** The text of a network error as Go's net package words it: users and their alerts know these. */
export function dialErrorText(error: unknown, address: string): string {
  const { code, name } = error as NodeJS.ErrnoException;
  const reasons: Record<string, string> = {
    ECONNREFUSED: 'connect: connection refused',
    EHOSTUNREACH: 'connect: no route to host',
    ENETUNREACH: 'connect: network is unreachable',
    ECONNRESET: 'read: connection reset by peer',
    ETIMEDOUT: 'i/o timeout',
  };
  if (name === 'TimeoutError' || name === 'AbortError') return `dial tcp ${address}: i/o timeout`;
  return `dial tcp ${address}: ${reasons[code ?? ''] ?? (error as Error).message}`;
}
