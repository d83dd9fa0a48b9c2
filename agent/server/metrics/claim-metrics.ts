// Metrics of dynamic resources: how long their claims and the calls to drivers take, and how many are in use.
import { Gauge, Histogram, type Registry } from 'prom-client';

/** From a tenth of a second to 40 s, evenly in proportion: calls to drivers end after 45 s. */
const buckets = Array.from({ length: 15 }, (_, index) => 0.1 * 400 ** (index / 14));

/** Registers them; the functions are what a claim manager is observed by. */
export function registerClaimMetrics(registry: Registry, inUse: () => ReadonlyMap<string, number>) {
  const registers = [registry];
  const operations = new Histogram({
    name: 'dra_operations_duration_seconds',
    help: 'Latency histogram in seconds for the duration of handling all ResourceClaims referenced by a pod when the pod starts or stops.',
    labelNames: ['operation_name', 'is_error'],
    buckets,
    registers,
  });
  const calls = new Histogram({
    name: 'dra_grpc_operations_duration_seconds',
    help: 'Duration in seconds of the DRA gRPC operations',
    labelNames: ['driver_name', 'method_name', 'grpc_status_code'],
    buckets,
    registers,
  });
  new Gauge({
    name: 'dra_resource_claims_in_use',
    help: 'The number of ResourceClaims that are currently in use on the node, by driver name (driver_name label value) and across all drivers (special value <any> for driver_name).',
    labelNames: ['driver_name'],
    registers,
    collect() {
      this.reset();
      for (const [driver, count] of inUse()) this.set({ driver_name: driver }, count);
    },
  });
  return {
    observe: (operation: string, failed: boolean, seconds: number) =>
      operations.observe({ operation_name: operation, is_error: `${failed}` }, seconds),
    observeCall: (driver: string, method: string, code: string, seconds: number) =>
      calls.observe(
        {
          driver_name: driver,
          method_name: `/k8s.io.kubelet.pkg.apis.dra.v1.DRAPlugin/${method}`,
          grpc_status_code: code,
        },
        seconds,
      ),
  };
}
