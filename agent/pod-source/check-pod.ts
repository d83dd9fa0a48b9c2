// Definitions come over the network or from files. What the agent calculates with has to be numbers, and what it keeps
// apart by name has to have names of its own; everything else is checked where it is used.
import type { Container, Pod, ResourceRequirements } from '#kube/api/generated/core-v1.ts';
import { dns1123LabelFaults, dns1123SubdomainFaults } from '#kube/api/names.ts';
import { parseQuantity } from '#kube/api/quantity.ts';

/** A uid of the API server, or the hash that stands for one in static pods. */
const uidForm = /^[A-Za-z0-9][-A-Za-z0-9]{0,126}$/;

function badQuantity(quantities: Readonly<Record<string, unknown>> | undefined, where: string): string | undefined {
  for (const [name, value] of Object.entries(quantities ?? {})) {
    try {
      parseQuantity(String(value));
    } catch (error) {
      return `${where}[${name}]: ${(error as Error).message}`;
    }
  }
  return undefined;
}

function badResources(resources: ResourceRequirements | undefined, where: string): string | undefined {
  return badQuantity(resources?.limits, `${where}.limits`) ?? badQuantity(resources?.requests, `${where}.requests`);
}

/** Names that become parts of paths. */
function problemOfNames({ metadata, spec }: Pod): string | undefined {
  const { name, namespace = '', uid = '' } = metadata;
  const faults = [...dns1123SubdomainFaults(name), ...dns1123LabelFaults(namespace)];
  if (faults.length > 0 || !uidForm.test(uid)) return 'metadata: the name, namespace or uid is not valid';
  const named = {
    containers: spec.containers,
    initContainers: spec.initContainers ?? [],
    ephemeralContainers: spec.ephemeralContainers ?? [],
    volumes: spec.volumes ?? [],
  };
  for (const [field, list] of Object.entries(named)) {
    const index = list.findIndex((item) => dns1123LabelFaults(item.name).length > 0);
    if (index >= 0) return `spec.${field}[${index}].name: ${JSON.stringify(list[index]?.name)} is not a valid name`;
  }
  return undefined;
}

/** Why the agent cannot work with the definition; undefined when it can. */
export function problemOfPod(pod: Pod): string | undefined {
  const { spec } = pod;
  const badName = problemOfNames(pod);
  if (badName !== undefined) return badName;
  const names = [...spec.containers, ...(spec.initContainers ?? []), ...(spec.ephemeralContainers ?? [])].map(
    ({ name }) => name,
  );
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined) return `there are several containers with the name ${JSON.stringify(twice)}`;
  const containers: [string, readonly Container[]][] = [
    ['spec.containers', spec.containers],
    ['spec.initContainers', spec.initContainers ?? []],
  ];
  for (const [path, list] of containers) {
    for (const [index, { resources }] of list.entries()) {
      const problem = badResources(resources, `${path}[${index}].resources`);
      if (problem !== undefined) return problem;
    }
  }
  for (const [index, { emptyDir }] of (spec.volumes ?? []).entries()) {
    if (emptyDir?.sizeLimit === undefined) continue;
    const problem = badQuantity({ sizeLimit: emptyDir.sizeLimit }, `spec.volumes[${index}].emptyDir`);
    if (problem !== undefined) return problem;
  }
  return badResources(spec.resources, 'spec.resources') ?? badQuantity(spec.overhead, 'spec.overhead');
}

/** The pod without what the agent cannot work with: enough to end it and to say why. */
export function stripPod(pod: Pod): Pod {
  const { nodeName, terminationGracePeriodSeconds } = pod.spec;
  const spec: Pod['spec'] = { containers: [] };
  if (nodeName !== undefined) spec.nodeName = nodeName;
  if (terminationGracePeriodSeconds !== undefined) spec.terminationGracePeriodSeconds = terminationGracePeriodSeconds;
  return { ...pod, spec };
}
