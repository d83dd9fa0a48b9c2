// Jobs: the selector and labels that tie pods to exactly this job.
import type { Job } from '#kube/api/generated/batch-v1.ts';
import type { KubeObject } from '#kube/api/resource.ts';
import type { Strategy } from '../strategy.ts';

type JobObject = KubeObject & Job;

const uidLabel = 'batch.kubernetes.io/controller-uid';
const nameLabel = 'batch.kubernetes.io/job-name';

export const jobStrategy: Strategy<JobObject> = {
  prepareCreate: (job) => {
    const { spec, metadata } = job;
    if (spec === undefined || spec.manualSelector === true) return;
    const uid = metadata.uid ?? '';
    const owned = { [uidLabel]: uid, [nameLabel]: metadata.name, 'controller-uid': uid, 'job-name': metadata.name };
    const { template } = spec;
    template.metadata = { ...template.metadata, labels: { ...template.metadata?.labels, ...owned } };
    if (Object.keys(metadata.labels ?? {}).length === 0) metadata.labels = { ...template.metadata.labels };
    spec.selector = { ...spec.selector, matchLabels: { ...spec.selector?.matchLabels, [uidLabel]: uid } };
  },
};
