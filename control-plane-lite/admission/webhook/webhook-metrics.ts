// Metrics of admission, under the names of the reference.
import { Counter, Histogram, type Registry } from 'prom-client';

export interface WebhookMetrics {
  /** One call of a webhook. */
  called(name: string, type: string, operation: string, code: number, isRejected: boolean, seconds: number): void;
  rejected(name: string, type: string, operation: string, errorType: string, code: number): void;
  failedOpen(name: string, type: string): void;
  /** One step of admission: all that changes, or all that checks. */
  step(type: string, operation: string, isRejected: boolean, seconds: number): void;
  /** A condition that could not be evaluated. */
  conditionErrors(name: string, kind: string, operation: string): void;
}

export function createWebhookMetrics(registry: Registry): WebhookMetrics {
  const registers = [registry];
  const labels = ['name', 'type', 'operation', 'rejected'] as const;
  const duration = new Histogram({
    name: 'apiserver_admission_webhook_admission_duration_seconds',
    help: 'Admission webhook latency.',
    labelNames: labels,
    buckets: [0.005, 0.025, 0.1, 0.5, 1, 2.5, 10, 25],
    registers,
  });
  const requests = new Counter({
    name: 'apiserver_admission_webhook_request_total',
    help: 'Admission webhook requests by code.',
    labelNames: [...labels, 'code'],
    registers,
  });
  const rejections = new Counter({
    name: 'apiserver_admission_webhook_rejection_count',
    help: 'Requests rejected by admission webhooks, and why.',
    labelNames: ['name', 'type', 'operation', 'error_type', 'rejection_code'],
    registers,
  });
  const open = new Counter({
    name: 'apiserver_admission_webhook_fail_open_count',
    help: 'Requests let through although their webhook failed.',
    labelNames: ['name', 'type'],
    registers,
  });
  const steps = new Histogram({
    name: 'apiserver_admission_step_admission_duration_seconds',
    help: 'Latency of the steps of admission.',
    labelNames: ['type', 'operation', 'rejected'],
    buckets: [0.005, 0.025, 0.1, 0.5, 1, 2.5],
    registers,
  });
  const conditions = new Counter({
    name: 'apiserver_admission_match_condition_evaluation_errors_total',
    help: 'Match conditions that could not be evaluated.',
    labelNames: ['name', 'kind', 'operation', 'type'],
    registers,
  });
  return {
    called: (name, type, operation, code, isRejected, seconds) => {
      const each = { name, type, operation, rejected: String(isRejected) };
      duration.observe(each, seconds);
      requests.inc({ ...each, code: String(code) });
    },
    rejected: (name, type, operation, errorType, code) =>
      rejections.inc({ name, type, operation, error_type: errorType, rejection_code: String(code) }),
    step: (type, operation, isRejected, seconds) =>
      steps.observe({ type, operation, rejected: String(isRejected) }, seconds),
    failedOpen: (name, type) => open.inc({ name, type }),
    conditionErrors: (name, kind, operation) => conditions.inc({ name, kind, operation, type: 'admit' }),
  };
}
