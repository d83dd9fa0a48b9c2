// What the registry knows about the request it serves.

/** Who asks, after authentication. */
export interface UserInfo {
  username: string;
  uid?: string;
  groups: readonly string[];
  extra?: Readonly<Record<string, readonly string[]>>;
}

export interface RequestContext {
  user: UserInfo;
  nowMs: number;
  /** Everything is checked, nothing is stored. */
  dryRun: boolean;
  /** Owner of the fields that the request sets. */
  fieldManager: string;
  /** Sent to the client as Warning headers. */
  warn(text: string): void;
  /** Noted beside the request in the audit log. */
  annotate?(key: string, value: string): void;
}
