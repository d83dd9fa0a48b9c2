// The KubeProxyConfiguration that stands for no configuration, as kube-proxy v1.36 writes it.
import { stringify } from 'yaml';

const periods = { minSyncPeriod: '1s', syncPeriod: '30s' };
const masquerading = { masqueradeAll: false, masqueradeBit: 14 };

const defaults = {
  apiVersion: 'kubeproxy.config.k8s.io/v1alpha1',
  bindAddress: '0.0.0.0',
  bindAddressHardFail: false,
  clientConnection: { acceptContentTypes: '', burst: 0, contentType: '', kubeconfig: '', qps: 0 },
  clusterCIDR: '',
  configSyncPeriod: '15m0s',
  conntrack: {
    maxPerCore: 32_768,
    min: 131_072,
    tcpBeLiberal: false,
    tcpCloseWaitTimeout: '1h0m0s',
    tcpEstablishedTimeout: '24h0m0s',
    udpStreamTimeout: '0s',
    udpTimeout: '0s',
  },
  detectLocal: { bridgeInterface: '', interfaceNamePrefix: '' },
  detectLocalMode: 'ClusterCIDR',
  enableProfiling: false,
  healthzBindAddress: '0.0.0.0:10256',
  hostnameOverride: '',
  iptables: { localhostNodePorts: true, ...masquerading, ...periods },
  ipvs: {
    excludeCIDRs: null,
    scheduler: '',
    strictARP: false,
    tcpFinTimeout: '0s',
    tcpTimeout: '0s',
    udpTimeout: '0s',
    ...periods,
  },
  kind: 'KubeProxyConfiguration',
  metricsBindAddress: '127.0.0.1:10249',
  mode: '',
  nftables: { ...masquerading, ...periods },
  nodePortAddresses: null,
  portRange: '',
  showHiddenMetricsForVersion: '',
};

/** As YAML. */
export const renderDefaultConfig = (): string => stringify(defaults);
