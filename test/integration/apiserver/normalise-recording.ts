// Replaces in recorded and in real answers what differs from run to run: ids, times, addresses, random names.

const replaced: Record<string, string> = {
  managedFields: '<managedFields>',
  uid: '<uid>',
  resourceVersion: '<rv>',
  creationTimestamp: '<time>',
  lastPhaseTransitionTime: '<time>',
  nodePort: '<nodePort>',
  healthCheckNodePort: '<nodePort>',
  'controller-uid': '<uid>',
  'batch.kubernetes.io/controller-uid': '<uid>',
  'authentication.kubernetes.io/credential-id': '<credential>',
  request: '<csr>',
  // The recorder's administrator had another name.
  username: '<admin>',
};

function normaliseText(text: string): string {
  return (
    text
      .replace(/^10\.96\.\d+\.\d+$/, '<ip>')
      .replace(/^kube-api-access-[a-z0-9<>]+$/, 'kube-api-access-<rand>')
      .replace(/^gen-[a-z0-9]{5}$/, '<generated>')
      // A difference of the reference's internal types is part of one message; nobody else can print it.
      .replace(/\n@@ [\s\S]*$/, '')
  );
}

/** The value with everything of one run replaced. */
export function normaliseRecording(value: unknown): unknown {
  if (typeof value === 'string') return normaliseText(value);
  if (Array.isArray(value)) return value.map(normaliseRecording);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [key, replaced[key] ?? normaliseRecording(item)]),
  );
}
