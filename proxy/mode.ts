// The modes a proxy can program rules in, and the choice among them.
import type { Logger } from 'pino';
import { type ModeName, modeNames } from './config/proxy-config.ts';
import { createIptablesMode } from './mode/iptables-mode.ts';
import { createIpvsMode } from './mode/ipvs-mode.ts';
import { createNftablesMode } from './mode/nftables-mode.ts';
import type { ModeDependencies, ProxyMode } from './mode/proxy-mode.ts';
import type { IpFamily } from './model/service-port.ts';

export function createModes(dependencies: ModeDependencies): Record<ModeName, ProxyMode> {
  return {
    iptables: createIptablesMode(dependencies),
    nftables: createNftablesMode(dependencies),
    ipvs: createIpvsMode(dependencies),
  };
}

export interface ChosenMode {
  mode: ProxyMode;
  families: IpFamily[];
}

const bothFamilies = ['IPv4', 'IPv6'] as const;

/**
 * The mode of the configuration, or without one the first that works here, with the families it can serve.
 * Throws with one line that says which mode works when the wanted one does not.
 */
export async function chooseMode(
  modes: Record<ModeName, ProxyMode>,
  wanted: ModeName | undefined,
  logger: Logger,
): Promise<ChosenMode> {
  const refusals: string[] = [];
  for (const name of [...(wanted === undefined ? [] : [wanted]), ...modeNames]) {
    const mode = modes[name];
    const asked = await Promise.all(
      bothFamilies.map(async (family) => ({ family, refusal: await mode.refusal(family) })),
    );
    const families = asked.filter(({ refusal }) => refusal === undefined).map(({ family }) => family);
    const reason = asked.find(({ refusal }) => refusal !== undefined)?.refusal;
    if (families.length === 0) {
      refusals.push(`mode ${name} cannot be used here (${reason?.trim().split('\n')[0]})`);
      continue;
    }
    if (wanted !== undefined && name !== wanted) throw new Error(`${refusals[0]}: --proxy-mode=${name} can`);
    for (const { family, refusal } of asked) {
      if (refusal === undefined) continue;
      logger.warn(
        { mode: name, family, reason: refusal },
        'this family cannot be used here: its services are not proxied',
      );
    }
    return { mode, families };
  }
  throw new Error(`${refusals.join('; ')}: run as root on a kernel with nat for iptables or nftables`);
}
