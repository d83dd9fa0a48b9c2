// Which plugins are new and which are gone, from the sockets that are there. Pure.

/** A registration socket: a plugin that was started again has another identity behind the same path. */
export interface PluginSocket {
  path: string;
  identity: string;
}

export interface RegistrationPlan {
  /** Sockets whose plugin is gone, or was replaced. */
  gone: string[];
  added: PluginSocket[];
}

/** Compares what was seen with what is known, by path. */
export function planRegistrations(
  seen: readonly PluginSocket[],
  known: ReadonlyMap<string, { identity: string }>,
): RegistrationPlan {
  const found = new Map(seen.map((socket) => [socket.path, socket]));
  const gone = [...known]
    .filter(([path, { identity }]) => found.get(path)?.identity !== identity)
    .map(([path]) => path);
  const added = seen.filter(({ path, identity }) => known.get(path)?.identity !== identity);
  return { gone, added };
}
