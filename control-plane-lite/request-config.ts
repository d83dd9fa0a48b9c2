// Flags of how requests are bounded, recorded and authorized, under kube-apiserver's names.
import { type FlagDefinition, type FlagValue, UsageError } from '#kube/process/flags.ts';

const authorizationModes = ['AlwaysAllow', 'AlwaysDeny', 'ABAC', 'Webhook', 'RBAC', 'Node'] as const;

export type AuthorizationMode = (typeof authorizationModes)[number];

export interface AuditConfig {
  policyFile: string;
  /** A file, or `-` for the standard output. */
  logPath: string;
  maxAgeDays: number;
  maxBackups: number;
  maxSizeMb: number;
}

export interface AuthorizationConfig {
  modes: readonly AuthorizationMode[];
  /** Of the mode ABAC. */
  policyFile: string | undefined;
  webhook: WebhookAuthorizationConfig | undefined;
}

export interface WebhookAuthorizationConfig {
  configFile: string;
  version: 'v1' | 'v1beta1';
  authorizedTtlMs: number;
  unauthorizedTtlMs: number;
}

export interface RequestConfig {
  /** Priority and fairness; else two plain limits. */
  isFair: boolean;
  limits: { readOnly: number; mutating: number };
  timeoutMs: number;
  /** Undefined: nothing is recorded. */
  audit: AuditConfig | undefined;
  authorization: AuthorizationConfig;
}

export const requestFlags: readonly FlagDefinition[] = [
  { name: 'enable-priority-and-fairness', type: 'boolean', description: 'share the server out by FlowSchemas' },
  { name: 'max-requests-inflight', type: 'int', description: 'reads served at once' },
  { name: 'max-mutating-requests-inflight', type: 'int', description: 'writes served at once' },
  { name: 'request-timeout', type: 'duration', description: 'time in which a request is answered' },
  { name: 'audit-policy-file', type: 'string', description: 'what the audit log records' },
  { name: 'audit-log-path', type: 'string', description: 'file of the audit log; - is the standard output' },
  { name: 'audit-log-maxage', type: 'int', description: 'days that old audit logs are kept' },
  { name: 'audit-log-maxbackup', type: 'int', description: 'old audit logs that are kept' },
  { name: 'audit-log-maxsize', type: 'int', description: 'megabytes after which the audit log is put aside' },
  { name: 'authorization-mode', type: 'list', description: 'authorizers in the order in which they are asked' },
  { name: 'authorization-policy-file', type: 'string', description: 'policy of the mode ABAC, a line for each rule' },
  {
    name: 'authorization-webhook-config-file',
    type: 'string',
    description: 'kubeconfig of the service that the mode Webhook asks',
  },
  { name: 'authorization-webhook-version', type: 'string', description: 'version of what it is asked: v1 or v1beta1' },
  {
    name: 'authorization-webhook-cache-authorized-ttl',
    type: 'duration',
    description: 'how long its permissions hold',
  },
  {
    name: 'authorization-webhook-cache-unauthorized-ttl',
    type: 'duration',
    description: 'how long its refusals hold',
  },
];

type Values = Readonly<Record<string, FlagValue | undefined>>;

const textOf = (values: Values, name: string): string | undefined =>
  values[name] === undefined ? undefined : String(values[name]);

function countOf(values: Values, name: string, otherwise: number): number {
  const count = Number(values[name] ?? otherwise);
  if (count < 0) throw new UsageError(`--${name} takes a number that is not negative, not ${count}`);
  return count;
}

function parseAudit(values: Values): AuditConfig | undefined {
  const [policyFile, logPath] = [textOf(values, 'audit-policy-file'), textOf(values, 'audit-log-path')];
  if (policyFile === undefined || logPath === undefined) return undefined;
  return {
    policyFile,
    logPath,
    maxAgeDays: countOf(values, 'audit-log-maxage', 366),
    maxBackups: countOf(values, 'audit-log-maxbackup', 100),
    maxSizeMb: countOf(values, 'audit-log-maxsize', 100),
  };
}

const isMode = (mode: string): mode is AuthorizationMode => authorizationModes.some((known) => known === mode);

function parseModes(given: FlagValue | undefined): AuthorizationMode[] {
  const names = Array.isArray(given) ? given : given === undefined ? ['Node', 'RBAC'] : [String(given)];
  const modes = names.map((name) => {
    if (isMode(name)) return name;
    throw new UsageError(`--authorization-mode takes ${authorizationModes.join(', ')}, not "${name}"`);
  });
  if (modes.length === 0) throw new UsageError('--authorization-mode names no authorizer');
  const twice = modes.find((mode, index) => modes.indexOf(mode) !== index);
  if (twice !== undefined) throw new UsageError(`--authorization-mode names ${twice} twice`);
  return modes;
}

function parseWebhook(values: Values, modes: readonly AuthorizationMode[]): WebhookAuthorizationConfig | undefined {
  const configFile = textOf(values, 'authorization-webhook-config-file');
  if (!modes.includes('Webhook')) {
    if (configFile === undefined) return undefined;
    throw new UsageError('--authorization-webhook-config-file needs Webhook in --authorization-mode');
  }
  if (configFile === undefined) {
    throw new UsageError('--authorization-mode Webhook needs --authorization-webhook-config-file');
  }
  const version = textOf(values, 'authorization-webhook-version') ?? 'v1beta1';
  if (version !== 'v1' && version !== 'v1beta1') {
    throw new UsageError(`--authorization-webhook-version takes v1 or v1beta1, not "${version}"`);
  }
  const ttl = (name: string, otherwise: number) =>
    countOf(values, `authorization-webhook-cache-${name}-ttl`, otherwise);
  return {
    configFile,
    version,
    authorizedTtlMs: ttl('authorized', 300_000),
    unauthorizedTtlMs: ttl('unauthorized', 30_000),
  };
}

function parseAuthorization(values: Values): AuthorizationConfig {
  const modes = parseModes(values['authorization-mode']);
  const policyFile = textOf(values, 'authorization-policy-file');
  if (modes.includes('ABAC') !== (policyFile !== undefined)) {
    throw new UsageError(
      modes.includes('ABAC')
        ? '--authorization-mode ABAC needs --authorization-policy-file'
        : '--authorization-policy-file needs ABAC in --authorization-mode',
    );
  }
  return { modes, policyFile, webhook: parseWebhook(values, modes) };
}

/** Decodes the flags. Throws UsageError with one line that says what is wrong. */
export function parseRequestConfig(values: Values): RequestConfig {
  const timeoutMs = Number(values['request-timeout'] ?? 60_000);
  if (timeoutMs <= 0) throw new UsageError('--request-timeout takes a time above zero');
  const limits = {
    readOnly: countOf(values, 'max-requests-inflight', 400),
    mutating: countOf(values, 'max-mutating-requests-inflight', 200),
  };
  const isFair = values['enable-priority-and-fairness'] !== false;
  if (isFair && limits.readOnly + limits.mutating === 0) {
    throw new UsageError('--max-requests-inflight and --max-mutating-requests-inflight leave no seats to share out');
  }
  return { isFair, limits, timeoutMs, audit: parseAudit(values), authorization: parseAuthorization(values) };
}
