// Metrics of the audit log, under the names of the reference.
import { Counter, type Registry } from 'prom-client';

export interface AuditMetrics {
  written(level: string): void;
  lost(lines: number): void;
}

export function createAuditMetrics(registry: Registry): AuditMetrics {
  const registers = [registry];
  const events = new Counter({ name: 'apiserver_audit_event_total', help: 'Events of the audit log.', registers });
  const levels = new Counter({
    name: 'apiserver_audit_level_total',
    help: 'Requests by the level that the audit policy has for them.',
    labelNames: ['level'],
    registers,
  });
  const errors = new Counter({
    name: 'apiserver_audit_error_total',
    help: 'Events that could not be written.',
    labelNames: ['plugin'],
    registers,
  });
  return {
    written: (level) => {
      events.inc();
      levels.inc({ level });
    },
    lost: (lines) => errors.inc({ plugin: 'log' }, lines),
  };
}
