// Whether a device is what a class or a request wants: the selectors' expressions over driver, attributes and capacity.
import type { Device, DeviceAttribute, DeviceSelector } from '#kube/api/generated/resource-v1.ts';
import { Budget } from '../../cel/budget.ts';
import { type Compilation, compileExpression, declare } from '../../cel/compile-expression.ts';
import { QuantityValue, SemanticVersion } from '../../cel/libraries/versions.ts';

/** A device with where it is from. */
export interface OfferedDevice {
  driver: string;
  pool: string;
  device: Device;
}

const names = declare({ device: 'dyn' });
const maxCompiled = 500;
const compiled = new Map<string, Compilation>();

function compile(source: string): Compilation {
  const known = compiled.get(source);
  if (known !== undefined) return known;
  if (compiled.size >= maxCompiled) compiled.clear();
  const compilation = compileExpression(source, names, ['bool']);
  compiled.set(source, compilation);
  return compilation;
}

/** The value of an attribute, comparable. */
export function attributeValue({ bool, int, string, version }: DeviceAttribute): string | number | boolean | undefined {
  return bool ?? int ?? string ?? version;
}

/** Names without a domain are of the driver's. */
export function qualified(driver: string, name: string): [domain: string, id: string] {
  const at = name.indexOf('/');
  return at < 0 ? [driver, name] : [name.slice(0, at), name.slice(at + 1)];
}

function byDomain<V>(driver: string, values: Readonly<Record<string, V>> | undefined, convert: (value: V) => unknown) {
  const domains: Record<string, Record<string, unknown>> = { [driver]: {} };
  for (const [name, value] of Object.entries(values ?? {})) {
    const [domain, id] = qualified(driver, name);
    const ids = domains[domain] ?? {};
    ids[id] = convert(value);
    domains[domain] = ids;
  }
  return domains;
}

function attributeOf(attribute: DeviceAttribute): unknown {
  if (attribute.int !== undefined) return BigInt(attribute.int);
  if (attribute.version !== undefined) return new SemanticVersion(attribute.version);
  return attribute.bool ?? attribute.string;
}

/** Whether all selectors hold. Throws an Error that names the expression which cannot be evaluated. */
export function selects(selectors: readonly DeviceSelector[] | undefined, { driver, device }: OfferedDevice): boolean {
  const expressions = (selectors ?? []).flatMap(({ cel }) => (cel === undefined ? [] : [cel.expression]));
  if (expressions.length === 0) return true;
  const variables = {
    device: {
      driver,
      attributes: byDomain(driver, device.attributes, attributeOf),
      capacity: byDomain(driver, device.capacity, ({ value }) => QuantityValue.parse(value)),
      allowMultipleAllocations: device.allowMultipleAllocations === true,
    },
  };
  return expressions.every((source) => {
    const compilation = compile(source);
    if (!compilation.ok) throw new Error(`CEL expression ${source}: ${compilation.message}`);
    return compilation.expression.evaluate(variables, new Budget()) === true;
  });
}
