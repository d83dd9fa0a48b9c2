// What the command line uses of the proxy.
export { removeProxyRules } from './apply/remove-rules.ts';
export { removeNodeNetwork } from './node-network.ts';
