// What `berth doctor` looks at. Gathered by gather-facts.ts, judged by judge-facts.ts.

/** Settings of the agent that matter here; the defaults where there is no file. */
export interface ConfiguredFacts {
  /** Undefined: the machine has joined no cluster. */
  file: string | undefined;
  /** Why the file cannot be read. */
  problem?: string | undefined;
  cgroupDriver: string;
  failSwapOn: boolean;
  rotateCertificates: boolean;
  resolvConf: string;
  port: number;
  healthzPort: number;
}

export interface CertificateFacts {
  path: string;
  /** Undefined: it cannot be read. */
  notAfterMs: number | undefined;
  /** The agent replaces it before it runs out. */
  isRenewed: boolean;
}

export interface PortFacts {
  port: number;
  what: string;
  /** The command line of who listens there; undefined when nobody does. */
  holder: string | undefined;
}

export interface DiskFacts {
  what: string;
  path: string;
  /** From 0 to 1. */
  freeRatio: number;
  freeInodesRatio: number;
}

export interface DoctorFacts {
  nowMs: number;
  isRoot: boolean;
  kernel: { release: string; missingNamespaces: string[]; missingFeatures: { name: string; module: string }[] };
  /** Kernel settings by name; undefined where the kernel has none of the name. */
  settings: Record<string, string | undefined>;
  swapBytes: number;
  cgroups: { version: 1 | 2; controllers: string[] };
  configuration: ConfiguredFacts;
  programs: { name: string; debianPackage: string; found: boolean }[];
  runtime: {
    endpoint: string;
    /** Undefined: it does not answer. */
    version: string | undefined;
    problems: string[];
    error: string | undefined;
    /** As containerd's configuration says; undefined where it does not. */
    systemdCgroups: boolean | undefined;
  };
  network: { directory: string; configurations: string[]; missingPlugins: string[]; pluginDirectories: string[] };
  ports: PortFacts[];
  certificates: CertificateFacts[];
  /** The servers of the node's kubeconfig. */
  api: { server: string; error: string | undefined; skewMs: number | undefined }[];
  disks: DiskFacts[];
  dns: { file: string; nameservers: string[]; unresolved: { host: string; error: string }[] };
}
