// Which node a user is, by the names that nodes authenticate with.
import type { UserInfo } from '../registry/request-context.ts';

const prefix = 'system:node:';

/** The node's name, or undefined for a user who is no node. Empty for a node without a name of its own. */
export function nodeNameOf({ username, groups }: UserInfo): string | undefined {
  if (!groups.includes('system:nodes') || !username.startsWith(prefix)) return undefined;
  return username.slice(prefix.length);
}
