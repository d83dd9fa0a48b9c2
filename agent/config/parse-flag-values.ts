// Values of single flags that have a grammar of their own.
import type { Taint } from '#kube/api/generated/core-v1.ts';
import { UsageError } from '#kube/process/flags.ts';

/** One taint as --register-with-taints has it: key=value:Effect or key:Effect. Throws UsageError. */
export function parseTaint(text: string): Taint {
  const match = /^([^=:]+)(?:=([^:]*))?:(NoSchedule|PreferNoSchedule|NoExecute)$/.exec(text);
  if (match === null) throw new UsageError(`--register-with-taints takes key=value:Effect, not "${text}"`);
  const [, key = '', value = '', effect = ''] = match;
  return { key, value, effect };
}

/** --reserved-memory, for example 0:memory=1Gi,hugepages-2Mi=2Gi;1:memory=2Gi, as the field has it. Throws UsageError. */
export function parseReservedMemory(text: string): { numaNode: number; limits: Record<string, string> }[] {
  return text
    .split(';')
    .filter((part) => part !== '')
    .map((part) => {
      const [, node, list = ''] = /^(\d+):(.+)$/.exec(part) ?? [];
      const pairs = list.split(',').map((pair) => pair.split('='));
      if (node === undefined || pairs.some((pair) => pair.length !== 2 || pair.includes(''))) {
        throw new UsageError(`--reserved-memory takes node:type=amount, not "${part}"`);
      }
      return { numaNode: Number(node), limits: Object.fromEntries(pairs) };
    });
}

/** --feature-gates as the field has it. Throws UsageError. */
export function parseGates(gates: Readonly<Record<string, string>>): Record<string, boolean> {
  return Object.fromEntries(
    Object.entries(gates).map(([name, text]) => {
      if (/^(1|t|T|true|TRUE|True)$/.test(text)) return [name, true];
      if (/^(0|f|F|false|FALSE|False)$/.test(text)) return [name, false];
      const syntax = `strconv.ParseBool: parsing ${JSON.stringify(text)}: invalid syntax`;
      throw new UsageError(`--feature-gates: invalid value of ${name}=${text}, err: ${syntax}`);
    }),
  );
}
