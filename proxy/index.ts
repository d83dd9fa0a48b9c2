// What the command line uses of the proxy.
export { removeProxyRules } from './apply/remove-rules.ts';
export { removePodNetwork } from './pod-network/remove-pod-network.ts';
