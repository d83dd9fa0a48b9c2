// Tables of custom objects: the columns that the definition adds, or name and age. Pure.
import type { TableColumn, TablePrinter } from '../kind-rules.ts';
import { age } from '../tables/cell-format.ts';
import type { DefinedVersion } from './custom-definition.ts';

const nameColumn: TableColumn = { name: 'Name', type: 'string', format: 'name', description: '', priority: 0 };
const ageColumn: TableColumn = { name: 'Age', type: 'date', format: '', description: '', priority: 0 };

type Step = { key: string } | { where: string; equals: string };

/** Steps of a simple JSON path: fields, quoted fields, indices and equality filters. */
export function parseJsonPath(path: string): Step[] {
  const pattern =
    /\.([A-Za-z0-9_\-\\./]+?)(?=[.[]|$)|\[(\d+)\]|\['([^']+)'\]|\[\?\(@\.([\w.]+)\s*==\s*["']([^"']*)["']\)\]/g;
  return [...path.matchAll(pattern)].map(([, field, index, quoted, where, equals]) =>
    where === undefined
      ? { key: (field ?? index ?? quoted ?? '').replaceAll('\\', '') }
      : { where, equals: equals ?? '' },
  );
}

function read(value: unknown, steps: readonly Step[]): unknown {
  return steps.reduce<unknown>((current, step) => {
    if (typeof current !== 'object' || current === null) return undefined;
    if ('key' in step) return (current as Record<string, unknown>)[step.key];
    if (!Array.isArray(current)) return undefined;
    return current.find((item) => String(read(item, parseJsonPath(`.${step.where}`))) === step.equals);
  }, value);
}

/** The printer of one version of a definition. */
export function customPrinter(version: DefinedVersion): TablePrinter {
  const added = (version.additionalPrinterColumns ?? []).map(
    ({ name, type, format, description, priority, jsonPath }) => ({
      column: { name, type, format: format ?? '', description: description ?? '', priority: priority ?? 0 },
      steps: parseJsonPath(jsonPath),
    }),
  );
  const cell = (type: string, value: unknown, nowMs: number): unknown => {
    if (value === undefined || value === null) return type === 'date' ? '<unknown>' : null;
    if (type === 'date') return age(String(value), nowMs);
    return type === 'string' && typeof value !== 'string' ? JSON.stringify(value) : value;
  };
  if (added.length === 0) {
    return {
      columns: [nameColumn, ageColumn],
      cells: ({ metadata }, nowMs) => [metadata.name, age(metadata.creationTimestamp, nowMs)],
    };
  }
  return {
    columns: [nameColumn, ...added.map(({ column }) => column)],
    cells: (object, nowMs) => [
      object.metadata.name,
      ...added.map(({ column, steps }) => cell(column.type, read(object, steps), nowMs)),
    ],
  };
}
