// The contract between the request pipeline and what is known about a kind: defaults, validation, printing.
// Implementations are pure; they live in defaulting/, validation/ and tables/.
import type { KubeObject, Resource } from '#kube/api/resource.ts';
import type { FieldError } from '#kube/errors/field-error.ts';

/** One column of a Table, as reference clients expect it. */
export interface TableColumn {
  name: string;
  type: string;
  format: string;
  description: string;
  /** 0 is always shown, higher ones with `-o wide`. */
  priority: number;
}

/** Fills in absent fields of `object` in place, as the API server does after decoding. Never fails. */
export type ApplyDefaults = (resource: Resource, object: KubeObject) => void;

/** Rules of create beyond the schema. An empty answer means valid. */
export type ValidateCreate = (resource: Resource, object: KubeObject) => FieldError[];

/** Rules of update: those of create that still hold, immutability, and what may change. `subresource` is empty, `status`, `resize`… */
export type ValidateUpdate = (
  resource: Resource,
  object: KubeObject,
  previous: KubeObject,
  subresource: string,
) => FieldError[];

/** Columns and cells of a kind for server-side printing. Cells follow the columns' order. */
export interface TablePrinter {
  columns: readonly TableColumn[];
  cells(object: KubeObject, nowMs: number): unknown[];
}

/** The printer of a resource; kinds without one of their own print Name and Created At. */
export type PrinterFor = (resource: Resource) => TablePrinter;
