// /healthz, /livez and /readyz: named checks, one by one or together, in the reference's text form.

export interface HealthCheck {
  name: string;
  /** Undefined when well, else why not. */
  failing(): string | undefined;
  /** Not part of liveness: the server may be alive and not ready. */
  onlyReadiness?: boolean;
}

export interface HealthAnswer {
  code: number;
  text: string;
}

/** Answers `/healthz`, `/livez/ping`, `/readyz?verbose` and the like; undefined for another path. */
export function answerHealth(
  checks: readonly HealthCheck[],
  path: string,
  query: URLSearchParams,
): HealthAnswer | undefined {
  const [, endpoint = '', name, ...rest] = path.split('/');
  if ((endpoint !== 'healthz' && endpoint !== 'livez' && endpoint !== 'readyz') || rest.length > 0) return undefined;
  const relevant = checks.filter((check) => endpoint === 'readyz' || check.onlyReadiness !== true);
  if (name !== undefined && name !== '') {
    const check = relevant.find((each) => each.name === name);
    if (check === undefined) return { code: 404, text: '404 page not found\n' };
    const failing = check.failing();
    return failing === undefined
      ? { code: 200, text: 'ok' }
      : { code: 500, text: `internal server error: ${failing}\n` };
  }
  const excluded = new Set(query.getAll('exclude'));
  const lines = relevant.map((check) => {
    if (excluded.has(check.name)) return { isFailing: false, text: `[+]${check.name} excluded: ok` };
    const isFailing = check.failing() !== undefined;
    return { isFailing, text: isFailing ? `[-]${check.name} failed: reason withheld` : `[+]${check.name} ok` };
  });
  const isFailing = lines.some((line) => line.isFailing);
  const list = lines.map(({ text }) => `${text}\n`).join('');
  if (isFailing) return { code: 500, text: `${list}${endpoint} check failed\n` };
  return { code: 200, text: query.has('verbose') ? `${list}${endpoint} check passed\n` : 'ok' };
}
