// The families of /metrics/cadvisor that are about the machine and not about cgroups.
import type { MachineFacts } from '../node/machine-facts.ts';
import { labelText, type MetricText } from './metric-text.ts';

/** What does not come from the sample. */
export interface CadvisorFacts {
  facts: MachineFacts;
  sockets: number;
  physicalCores: number;
}

function renderVersion(text: MetricText, facts: MachineFacts): void {
  text.family(
    'cadvisor_version_info',
    'gauge',
    "A metric with a constant '1' value labeled by kernel version, OS version, docker version, cadvisor version & cadvisor revision.",
  );
  const { kernelVersion, osImage: osVersion } = facts;
  text.add(labelText({ cadvisorRevision: '', cadvisorVersion: '', dockerVersion: '', kernelVersion, osVersion }), 1);
  text.family(
    'container_scrape_error',
    'gauge',
    '1 if there was an error while getting container metrics, 0 otherwise',
  );
  text.add('', 0);
}

/** Writes the families of the machine, and those of versions and errors. */
export function renderMachine(text: MetricText, { facts, sockets, physicalCores }: CadvisorFacts): void {
  renderVersion(text, facts);
  const labels = labelText({ boot_id: facts.bootId, machine_id: facts.machineId, system_uuid: facts.systemUuid });
  const gauge = (name: string, help: string, value: number, own = labels) => {
    text.family(name, 'gauge', help);
    text.add(own, value);
  };
  gauge('machine_cpu_books', 'Number of CPU books, 0 on machines without.', 0);
  gauge('machine_cpu_cores', 'Number of logical CPU cores.', facts.cpus);
  gauge('machine_cpu_drawers', 'Number of CPU drawers, 0 on machines without.', 0);
  gauge('machine_cpu_physical_cores', 'Number of physical CPU cores.', physicalCores);
  gauge('machine_cpu_sockets', 'Number of CPU sockets.', sockets);
  gauge('machine_memory_bytes', 'Amount of memory installed on the machine.', facts.memoryBytes);
  gauge('machine_nvm_avg_power_budget_watts', 'NVM power budget, 0 on machines without.', 0);
  text.family('machine_nvm_capacity', 'gauge', 'NVM capacity value labeled by NVM mode, 0 on machines without.');
  for (const mode of ['app_direct_mode', 'memory_mode']) {
    text.add(
      `boot_id="${facts.bootId}",machine_id="${facts.machineId}",mode="${mode}",system_uuid="${facts.systemUuid}"`,
      0,
    );
  }
  gauge('machine_scrape_error', '1 if there was an error while getting machine metrics, 0 otherwise.', 0, '');
  gauge('machine_swap_bytes', 'Amount of swap memory available on the machine.', facts.swapBytes);
}
