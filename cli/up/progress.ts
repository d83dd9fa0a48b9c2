// Shows the steps of a long piece of work: live lines on a terminal, plain ones elsewhere.
import { Listr, type ListrTask } from 'listr2';
import type { Report } from './progress-message.ts';

export interface Progress extends Report {
  /** Ends the display; open steps are marked as failed when `error` is given. Resolves when all is printed. */
  finish(error?: Error): Promise<void>;
}

function createPlainProgress(titles: Record<string, string>, write: (line: string) => void): Progress {
  const startedMs = new Map<string, number>();
  return {
    start: (step) => {
      if (titles[step] === undefined) return;
      startedMs.set(step, performance.now());
      write(`... ${titles[step]}`);
    },
    detail: (step, text) => {
      if (titles[step] !== undefined) write(`    ${titles[step]}: ${text}`);
    },
    done: (step, text) => {
      if (titles[step] === undefined) return;
      const seconds = ((performance.now() - (startedMs.get(step) ?? performance.now())) / 1000).toFixed(1);
      startedMs.delete(step);
      write(`ok  ${titles[step]} (${seconds} s)${text === undefined ? '' : `: ${text}`}`);
    },
    finish: async (error) => {
      if (error !== undefined) for (const step of startedMs.keys()) write(`!!  ${titles[step]} failed`);
    },
  };
}

function createTerminalProgress(titles: Record<string, string>): Progress {
  const steps = new Map(
    Object.keys(titles).map((step) => [
      step,
      {
        began: Promise.withResolvers<void>(),
        ended: Promise.withResolvers<string | undefined>(),
        say: (_: string): void => undefined,
      },
    ]),
  );
  const tasks: ListrTask[] = Object.entries(titles).map(([step, title]) => ({
    title,
    task: async (_, task) => {
      const own = steps.get(step);
      if (own === undefined) return;
      own.say = (text) => {
        task.output = text;
      };
      const text = await own.ended.promise;
      if (text !== undefined) task.title = `${title}: ${text}`;
    },
  }));
  // Steps overlap, so all are shown from the start.
  const listr = new Listr(tasks, { concurrent: true, exitOnError: false, collectErrors: 'minimal' });
  const finished = listr.run().then(
    () => undefined,
    () => undefined,
  );
  return {
    start: (step) => steps.get(step)?.began.resolve(),
    detail: (step, text) => steps.get(step)?.say(text),
    done: (step, text) => steps.get(step)?.ended.resolve(text),
    finish: async (error) => {
      for (const step of steps.values()) {
        if (error === undefined) step.ended.resolve(undefined);
        else step.ended.reject(new Error('not done'));
      }
      await finished;
    },
  };
}

/** `titles` maps step names to what is shown, in order. */
export function createProgress(titles: Record<string, string>, stream: NodeJS.WriteStream): Progress {
  if (stream.isTTY) return createTerminalProgress(titles);
  return createPlainProgress(titles, (line) => stream.write(`${line}\n`));
}
