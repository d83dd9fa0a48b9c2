// The form in which a library says what it adds to the language.
import type { Environment } from '@marcbachmann/cel-js';

export type CelFunction = (...args: never[]) => unknown;

/** Functions by signature, such as `string.reverse(): string`. */
export type FunctionTable = Readonly<Record<string, CelFunction>>;

/** Adds a table to an environment; none of the functions waits for anything. */
export function addFunctions(environment: Environment, table: FunctionTable): void {
  for (const [signature, handler] of Object.entries(table)) {
    environment.registerFunction(signature, handler as (...args: unknown[]) => unknown, { async: false });
  }
}
