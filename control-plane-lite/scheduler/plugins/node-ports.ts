// Two pods cannot take the same port of a node.
import type { Plugin, Refusal } from '../framework/plugin.ts';
import type { HostPort } from '../framework/pod-info.ts';

const anyAddress = '0.0.0.0';
const taken: Refusal = {
  plugin: 'NodePorts',
  reasons: ["node(s) didn't have free ports for the requested pod ports"],
  resolvable: true,
};

function collide(a: HostPort, b: HostPort): boolean {
  if (a.port !== b.port || a.protocol !== b.protocol) return false;
  return a.ip === b.ip || a.ip === anyAddress || b.ip === anyAddress;
}

/** Host ports are taken per address and protocol. */
export const nodePorts: Plugin = {
  name: 'NodePorts',
  filter: ({ hostPorts }, node) =>
    hostPorts.some((wanted) => node.hostPorts.some((used) => collide(wanted, used))) ? taken : undefined,
};
