// What the command line uses of the proxy.
export { createIptables } from './apply/iptables.ts';
export { cleanupIptables } from './apply/iptables-applier.ts';
export { cleanupNftables, createNft } from './apply/nft.ts';
