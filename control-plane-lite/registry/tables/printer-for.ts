// The server-side printers by resource. Columns are facts of the reference (data/columns.json).
import { apiVersionOf, type KubeObject, type Resource } from '#kube/api/resource.ts';
import type { PrinterFor, TableColumn, TablePrinter } from '../kind-rules.ts';
import { age } from './cell-format.ts';
import * as cluster from './cluster-cells.ts';
import * as core from './core-cells.ts';
import columnData from './data/columns.json' with { type: 'json' };
import { podCells } from './pod-cells.ts';
import * as storage from './storage-cells.ts';
import * as workload from './workload-cells.ts';

type Cells = (object: KubeObject, nowMs: number) => unknown[];

/** The table is keyed by resource, so the object's type is what each function says it takes. */
function of<T extends KubeObject>(cells: (object: T, nowMs: number) => unknown[]): Cells {
  return cells as Cells;
}

const nameAndAge: Cells = ({ metadata }, nowMs) => [metadata.name, age(metadata.creationTimestamp, nowMs)];
const nameAndCreation: Cells = ({ metadata }) => [metadata.name, metadata.creationTimestamp ?? null];

const admission = 'admissionregistration.k8s.io/v1';
const cells: Record<string, Cells> = {
  'v1/configmaps': of(core.configMapCells),
  'v1/endpoints': of(core.endpointsCells),
  'v1/events': of(core.eventCells),
  'v1/namespaces': of(core.namespaceCells),
  'v1/nodes': of(core.nodeCells),
  'v1/persistentvolumeclaims': of(storage.persistentVolumeClaimCells),
  'v1/persistentvolumes': of(storage.persistentVolumeCells),
  'v1/pods': of(podCells),
  'v1/podtemplates': of(core.podTemplateCells),
  'v1/replicationcontrollers': of(core.replicationControllerCells),
  'v1/resourcequotas': of(core.resourceQuotaCells),
  'v1/secrets': of(core.secretCells),
  'v1/serviceaccounts': nameAndAge,
  'v1/services': of(core.serviceCells),
  'apiregistration.k8s.io/v1/apiservices': of(cluster.apiServiceCells),
  'apps/v1/controllerrevisions': of(workload.controllerRevisionCells),
  'apps/v1/daemonsets': of(workload.daemonSetCells),
  'apps/v1/deployments': of(workload.deploymentCells),
  'apps/v1/replicasets': of(workload.replicaSetCells),
  'apps/v1/statefulsets': of(workload.statefulSetCells),
  'events.k8s.io/v1/events': of(core.newEventCells),
  'autoscaling/v2/horizontalpodautoscalers': of(workload.horizontalPodAutoscalerCells),
  'autoscaling/v1/horizontalpodautoscalers': of(workload.horizontalPodAutoscalerV1Cells),
  'batch/v1/cronjobs': of(workload.cronJobCells),
  'batch/v1/jobs': of(workload.jobCells),
  'certificates.k8s.io/v1/certificatesigningrequests': of(cluster.certificateSigningRequestCells),
  'networking.k8s.io/v1/ingressclasses': of(cluster.ingressClassCells),
  'networking.k8s.io/v1/ingresses': of(cluster.ingressCells),
  'networking.k8s.io/v1/ipaddresses': of(cluster.ipAddressCells),
  'networking.k8s.io/v1/networkpolicies': of(cluster.networkPolicyCells),
  'networking.k8s.io/v1/servicecidrs': of(cluster.serviceCidrCells),
  'policy/v1/poddisruptionbudgets': of(workload.podDisruptionBudgetCells),
  'rbac.authorization.k8s.io/v1/clusterrolebindings': of(cluster.bindingCells),
  'rbac.authorization.k8s.io/v1/rolebindings': of(cluster.bindingCells),
  'storage.k8s.io/v1/csidrivers': of(storage.csiDriverCells),
  'storage.k8s.io/v1/csinodes': of(storage.csiNodeCells),
  'storage.k8s.io/v1/storageclasses': of(storage.storageClassCells),
  'storage.k8s.io/v1/volumeattachments': of(storage.volumeAttachmentCells),
  'storage.k8s.io/v1/volumeattributesclasses': of(storage.volumeAttributesClassCells),
  [`${admission}/mutatingadmissionpolicies`]: of(cluster.admissionPolicyCells),
  [`${admission}/mutatingadmissionpolicybindings`]: of(cluster.admissionPolicyBindingCells),
  [`${admission}/mutatingwebhookconfigurations`]: of(cluster.webhookCells),
  [`${admission}/validatingadmissionpolicies`]: of(cluster.admissionPolicyCells),
  [`${admission}/validatingadmissionpolicybindings`]: of(cluster.admissionPolicyBindingCells),
  [`${admission}/validatingwebhookconfigurations`]: of(cluster.webhookCells),
  'scheduling.k8s.io/v1/priorityclasses': of(cluster.priorityClassCells),
  'coordination.k8s.io/v1/leases': of(cluster.leaseCells),
  'node.k8s.io/v1/runtimeclasses': of(cluster.runtimeClassCells),
  'discovery.k8s.io/v1/endpointslices': of(cluster.endpointSliceCells),
  'resource.k8s.io/v1/deviceclasses': nameAndAge,
  'resource.k8s.io/v1/resourceclaims': of(cluster.resourceClaimCells),
  'resource.k8s.io/v1/resourceclaimtemplates': nameAndAge,
  'resource.k8s.io/v1/resourceslices': of(cluster.resourceSliceCells),
  'flowcontrol.apiserver.k8s.io/v1/flowschemas': of(cluster.flowSchemaCells),
  'flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations': of(cluster.priorityLevelCells),
};

type ColumnFacts = Omit<TableColumn, 'description'>[];
const columnFacts: Record<string, ColumnFacts> = columnData;

const plainColumns: ColumnFacts = [
  { name: 'Name', type: 'string', format: 'name', priority: 0 },
  { name: 'Created At', type: 'date', format: '', priority: 0 },
];

const printers = new Map<string, TablePrinter>();

/** The printer of a resource. Built once per resource. */
export const printerFor: PrinterFor = (resource: Resource) => {
  const key = `${apiVersionOf(resource)}/${resource.plural}`;
  let printer = printers.get(key);
  if (printer === undefined) {
    const own = cells[key];
    const facts = own === undefined ? plainColumns : (columnFacts[key] ?? plainColumns);
    printer = {
      columns: facts.map((column) => ({ ...column, description: '' })),
      cells: own ?? nameAndCreation,
    };
    printers.set(key, printer);
  }
  return printer;
};
