// What a kind of plugin has to offer so that plugins of that kind can register.

/** What a plugin says about itself. */
export interface PluginFacts {
  name: string;
  /** The plugin's own socket. */
  endpoint: string;
  versions: readonly string[];
}

/** Takes plugins of one kind. The name of a plugin that is taken already means that it was started again. */
export interface PluginHandler {
  /** As plugins name their kind: CSIPlugin, DevicePlugin, DRAPlugin. */
  readonly type: string;
  /** Throws when the plugin cannot be used; the message is told to it. */
  register(plugin: PluginFacts, signal: AbortSignal): Promise<void>;
  /** The socket is gone. */
  deregister(plugin: PluginFacts): Promise<void>;
}
