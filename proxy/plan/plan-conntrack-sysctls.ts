// Kernel settings for connection tracking from KubeProxyConfiguration.conntrack. What is 0 is left as it is.

export interface ConntrackSettings {
  maxPerCore: number;
  min: number;
  tcpBeLiberal: boolean;
  tcpEstablishedMs: number;
  tcpCloseWaitMs: number;
  udpMs: number;
  udpStreamMs: number;
}

/** Names below /proc/sys/net/netfilter with the values they should have. */
export function planConntrackSysctls(settings: ConntrackSettings, cores: number): Map<string, number> {
  const sysctls = new Map<string, number>();
  const { maxPerCore, min } = settings;
  const max = maxPerCore > 0 ? Math.max(maxPerCore * cores, min) : 0;
  if (max > 0) sysctls.set('nf_conntrack_max', max);
  const timeout = (name: string, ms: number): void => {
    if (ms > 0) sysctls.set(name, Math.round(ms / 1000));
  };
  timeout('nf_conntrack_tcp_timeout_established', settings.tcpEstablishedMs);
  timeout('nf_conntrack_tcp_timeout_close_wait', settings.tcpCloseWaitMs);
  timeout('nf_conntrack_udp_timeout', settings.udpMs);
  timeout('nf_conntrack_udp_timeout_stream', settings.udpStreamMs);
  if (settings.tcpBeLiberal) sysctls.set('nf_conntrack_tcp_be_liberal', 1);
  return sysctls;
}
