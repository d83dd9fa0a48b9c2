// What is kept of one request while it is served, for its events.
import type { UserInfo } from '../../registry/request-context.ts';
import type { AuditStage } from './audit-policy.ts';
import type { AuditWish } from './match-audit.ts';

export interface AuditRecord {
  readonly wish: AuditWish;
  readonly auditId: string;
  readonly receivedMs: number;
  /** Who asks; the user of the exchange may be one that is impersonated. */
  readonly user: UserInfo;
  impersonated: UserInfo | undefined;
  readonly annotations: Record<string, string>;
  /** Set by whoever answers with a Status that says what failed. */
  failure: object | undefined;
  /** The answer's bytes, when they are to be recorded. */
  response: { contentType: string; bytes: Buffer } | undefined;
  /** Records a stage. */
  stage(stage: AuditStage): void;
}

/** Whether answers are recorded. */
export const wantsResponse = ({ wish }: AuditRecord): boolean => wish.level === 'RequestResponse';
