// Values that mutations write: objects by type, and operations of a JSON patch.

/** `Object.spec{replicas: 1}`. */
export class ObjectLiteral {
  readonly #fields: Readonly<Record<string, unknown>>;

  constructor(fields: Readonly<Record<string, unknown>>) {
    this.#fields = fields;
  }

  /** The fields as given; values are the language's. */
  static fieldsOf(literal: ObjectLiteral): Readonly<Record<string, unknown>> {
    return literal.#fields;
  }
}

/** `JSONPatch{op: "add", path: "/spec/x", value: 1}`. */
export class JsonPatchOperation {
  readonly #fields: Readonly<Record<string, unknown>>;

  constructor(fields: Readonly<Record<string, unknown>>) {
    this.#fields = fields;
  }

  static fieldsOf(operation: JsonPatchOperation): Readonly<Record<string, unknown>> {
    return operation.#fields;
  }
}
