// Who of the webhooks and policies that change objects runs once more, because the object changed after they ran.
// Source of the rules: the reference's admission/plugin/webhook/mutating/reinvocationcontext.go.

/** What one plugin remembers of the first run. */
export interface PluginRuns {
  /** Ids of those that ran and want to run again after a change. */
  ran: Set<string>;
  /** Of them, those that are to run again. */
  again: Set<string>;
  /** The object as the plugin left it. */
  lastOutput: string | undefined;
}

export interface Reinvocation {
  isSecondRun: boolean;
  /** Whether anything changed the object, so that there is a second run. */
  isWanted: boolean;
  plugins: Map<string, PluginRuns>;
}

/** The runs of one plugin in this request; in a second run, after noticing what others changed since. */
export function runsOf(reinvocation: Reinvocation, plugin: string, object: unknown): PluginRuns {
  let runs = reinvocation.plugins.get(plugin);
  if (runs === undefined) {
    runs = { ran: new Set(), again: new Set(), lastOutput: undefined };
    reinvocation.plugins.set(plugin, runs);
  }
  if (reinvocation.isSecondRun && runs.lastOutput !== undefined && runs.lastOutput !== JSON.stringify(object)) {
    for (const id of runs.ran) runs.again.add(id);
  }
  return runs;
}

/** Notes that one has run, and that what ran before it has to run again if it changed the object. */
export function noteRun(
  reinvocation: Reinvocation,
  runs: PluginRuns,
  id: string,
  { isChanged, runsAgain }: { isChanged: boolean; runsAgain: boolean },
): void {
  if (isChanged) {
    for (const earlier of runs.ran) if (earlier !== id) runs.again.add(earlier);
    reinvocation.isWanted = true;
  }
  if (runsAgain) runs.ran.add(id);
}
