// How traffic that comes from pods of this node is recognised (KubeProxyConfiguration.detectLocalMode).

export type DetectLocal =
  | { mode: 'ClusterCIDR' | 'NodeCIDR'; cidrs: readonly string[] }
  | { mode: 'BridgeInterface'; name: string }
  | { mode: 'InterfaceNamePrefix'; prefix: string };
