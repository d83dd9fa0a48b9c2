// Certificate signing requests: they say who asked, and only approvers touch their verdict.
import type { CertificateSigningRequest } from '#kube/api/generated/certificates-v1.ts';
import type { KubeObject } from '#kube/api/resource.ts';
import { timestamp } from '../object-meta.ts';
import type { Strategy } from '../strategy.ts';

type RequestObject = KubeObject & CertificateSigningRequest;
type Condition = NonNullable<NonNullable<CertificateSigningRequest['status']>['conditions']>[number];

const isVerdict = ({ type }: Condition): boolean => type === 'Approved' || type === 'Denied';

/** The conditions that `subresource` may set, from the new object; the others as they were. */
function conditionsFor(request: RequestObject, previous: RequestObject, subresource: string): Condition[] {
  const isOwn = (condition: Condition) => (subresource === 'approval' ? isVerdict(condition) : !isVerdict(condition));
  const kept = (previous.status?.conditions ?? []).filter((condition) => !isOwn(condition));
  return [...kept, ...(request.status?.conditions ?? []).filter(isOwn)];
}

export const certificateSigningRequestStrategy: Strategy<RequestObject> = {
  prepareCreate: (request, { user }) => {
    request.spec.username = user.username;
    if (user.uid !== undefined) request.spec.uid = user.uid;
    else delete request.spec.uid;
    request.spec.groups = [...user.groups];
    delete request.spec.extra;
    if (user.extra !== undefined) {
      request.spec.extra = Object.fromEntries(Object.entries(user.extra).map(([key, values]) => [key, [...values]]));
    }
    request.status = {};
  },
  prepareUpdate: (request, previous, { nowMs }, subresource) => {
    request.spec = structuredClone(previous.spec);
    if (subresource === '') return;
    const conditions = conditionsFor(request, previous, subresource).map((condition) => ({
      ...condition,
      lastUpdateTime: condition.lastUpdateTime ?? timestamp(nowMs),
      lastTransitionTime: condition.lastTransitionTime ?? timestamp(nowMs),
    }));
    request.status = {
      ...(subresource === 'approval' ? previous.status : request.status),
      ...(conditions.length > 0 ? { conditions } : {}),
    };
  },
};
