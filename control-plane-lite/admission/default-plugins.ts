// The admission plugins of a server, in the order in which they see a request.
import type { AskingAuthorizer } from '../authz/authorizer.ts';
import type { RbacAuthorizer } from '../authz/rbac/rbac-authorizer.ts';
import { createCertificateApproval } from './certificate-approval.ts';
import { claimResize } from './claim-resize.ts';
import { defaultTolerationSeconds } from './default-toleration-seconds.ts';
import { limitRanger } from './limit-ranger.ts';
import { namespaceLifecycle } from './namespace-lifecycle.ts';
import { nodeRestriction } from './node-restriction.ts';
import type { AdmissionPlugin } from './plugin.ts';
import { podSecurity } from './pod-security/pod-security.ts';
import { createMutatingPolicies } from './policy/mutating-policies.ts';
import { createValidatingPolicies } from './policy/validating-policies.ts';
import { priorityAdmission } from './priority.ts';
import { createQuotaAdmission, type QuotaDeps } from './quota/quota-admission.ts';
import { createRbacEscalation } from './rbac-escalation.ts';
import { runtimeClassAdmission } from './runtime-class.ts';
import { serviceAccountAdmission } from './service-account.ts';
import { defaultIngressClass, defaultStorageClass, storageObjectInUseProtection } from './storage-defaults.ts';
import { taintNodesByCondition } from './taint-nodes-by-condition.ts';
import type { WebhookDeps } from './webhook/ask-webhook.ts';
import { createMutatingWebhooks } from './webhook/mutating-webhooks.ts';
import { createValidatingWebhooks } from './webhook/validating-webhooks.ts';

export interface DefaultPluginDeps extends QuotaDeps {
  authorizer: AskingAuthorizer;
  rbac: RbacAuthorizer;
  webhooks: WebhookDeps;
}

/** Every plugin that is on. */
export function defaultPlugins(deps: DefaultPluginDeps): AdmissionPlugin[] {
  const { authorizer, rbac, webhooks } = deps;
  return [
    namespaceLifecycle,
    limitRanger,
    serviceAccountAdmission,
    nodeRestriction,
    taintNodesByCondition,
    podSecurity,
    priorityAdmission,
    defaultTolerationSeconds,
    defaultStorageClass,
    storageObjectInUseProtection,
    claimResize,
    runtimeClassAdmission,
    defaultIngressClass,
    createCertificateApproval(authorizer),
    createRbacEscalation(authorizer, rbac),
    createMutatingPolicies(webhooks),
    createMutatingWebhooks(webhooks),
    createValidatingPolicies(webhooks),
    createValidatingWebhooks(webhooks),
    createQuotaAdmission(deps),
  ];
}
