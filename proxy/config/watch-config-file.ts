// Ends the proxy when its configuration file becomes another one, as kube-proxy does: whoever started it starts it again.
import { readFile } from 'node:fs/promises';
import type { Clock } from '#kube/process/clock.ts';
import type { Component } from '#kube/process/component.ts';

const periodMs = 10_000;

/** A file that is gone is one that is being replaced. `loaded` is what the configuration was read from. */
export function createConfigFileWatch(path: string, loaded: string, clock: Clock): Pick<Component, 'run'> {
  return {
    run: async (signal) => {
      while (!signal.aborted) {
        await clock.sleep(periodMs, signal).catch(() => undefined);
        if (signal.aborted) return;
        const text = await readFile(path, 'utf8').catch(() => loaded);
        if (text !== loaded) throw new Error("content of the proxy server's configuration file was updated");
      }
    },
  };
}
