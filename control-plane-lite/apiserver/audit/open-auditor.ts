// The audit log as the flags want it: the policy read and checked, the file opened.
import { readFile } from 'node:fs/promises';
import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import { UsageError } from '#kube/process/flags.ts';
import type { AuditConfig } from '../../request-config.ts';
import { openAuditLog } from './audit-log.ts';
import { createAuditMetrics } from './audit-metrics.ts';
import { parseAuditPolicy } from './audit-policy.ts';
import { type Auditor, createAuditor } from './create-auditor.ts';

export interface OpenAuditor extends Auditor {
  /** Writes what is left. */
  close(): Promise<void>;
}

export interface OpenAuditorDeps {
  logger: Logger;
  metricsRegistry: Registry;
  nowMs(): number;
}

/** Records nothing where there is no configuration. Rejects with UsageError for a policy or a file that cannot be used. */
export async function openAuditor(config: AuditConfig | undefined, deps: OpenAuditorDeps): Promise<OpenAuditor> {
  if (config === undefined) return { begin: () => undefined, close: () => Promise.resolve() };
  const { policyFile, logPath } = config;
  const text = await readFile(policyFile, 'utf8').catch((error: unknown) => {
    throw new UsageError(`the audit policy ${policyFile} cannot be read: ${String(error)}`, { cause: error });
  });
  const policy = parseAuditPolicy(text, policyFile);
  const { logger, nowMs } = deps;
  const metrics = createAuditMetrics(deps.metricsRegistry);
  const log = await openAuditLog({ config, logger, nowMs, lost: metrics.lost }).catch((error: unknown) => {
    throw new UsageError(`the audit log ${logPath} cannot be written: ${String(error)}`, { cause: error });
  });
  return { ...createAuditor({ policy, log, metrics, nowMs }), close: log.close };
}
