// The steps of a long piece of work as messages between processes.

/** Told of steps by name; unknown names are ignored. */
export interface Report {
  start(step: string): void;
  /** What is going on inside the step. */
  detail(step: string, text: string): void;
  done(step: string, text?: string): void;
}

export interface ProgressMessage {
  type: 'start' | 'detail' | 'done';
  step: string;
  text?: string;
}

/** What the detached process tells the one that shows its progress. */
export type DetachedMessage = ProgressMessage | { type: 'ready' } | { type: 'failed'; message: string };

/** A report that only passes messages on. */
export function forwardReport(send: (message: ProgressMessage) => void): Report {
  return {
    start: (step) => send({ type: 'start', step }),
    detail: (step, text) => send({ type: 'detail', step, text }),
    done: (step, text) => send({ type: 'done', step, ...(text === undefined ? {} : { text }) }),
  };
}

/** The other end of `forwardReport`. */
export function applyReport(report: Report, { type, step, text }: ProgressMessage): void {
  if (type === 'start') report.start(step);
  else if (type === 'detail') report.detail(step, text ?? '');
  else report.done(step, text);
}
