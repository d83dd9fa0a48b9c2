// The most that an expression can cost, from the sizes that the schemas of its variables allow. Pure.
import type { ASTNode } from '@marcbachmann/cel-js';
import type { CelSchema } from './cel-schema.ts';
import { escapePropertyName } from './property-names.ts';

/** Bytes of the largest request: what has no bound of its own is bounded by it. */
const requestBytes = 3_145_728;
const loops = new Set([
  'all',
  'exists',
  'exists_one',
  'existsOne',
  'map',
  'filter',
  'transformList',
  'transformMap',
  'transformMapEntry',
]);
const costOfNode: Record<string, number> = { value: 0, '?:': 0, '&&': 0, '||': 0, '!_': 0, list: 10, map: 30 };

interface Estimate {
  cost: number;
  /** Most characters, items or entries of the result. */
  size: number;
  schema: CelSchema | undefined;
}

type Scope = ReadonlyMap<string, Estimate>;

function smallestBytes(schema: CelSchema | undefined): number {
  if (schema?.type === 'object' || schema?.type === 'array' || schema?.type === 'string') return 2;
  return schema?.type === 'boolean' ? 4 : 1;
}

/** How large a value of a schema can be. */
function sizeOf(schema: CelSchema | undefined): number {
  if (schema === undefined) return requestBytes;
  switch (schema.type) {
    case 'string':
      if (schema.enumLength !== undefined) return schema.enumLength;
      return schema.format === 'date-time' ? 30 : Math.min(schema.maxLength ?? requestBytes, requestBytes);
    case 'array':
      return Math.min(schema.maxItems ?? Number.POSITIVE_INFINITY, requestBytes / (smallestBytes(schema.items) + 1));
    case 'object':
      return Math.min(
        schema.maxProperties ?? Number.POSITIVE_INFINITY,
        requestBytes / (smallestBytes(schema.additional) + 5),
      );
    case 'boolean':
    case 'integer':
    case 'number':
      return 1;
    default:
      return schema.maxLength ?? requestBytes;
  }
}

const valued = (schema: CelSchema | undefined, cost: number): Estimate => ({ cost, size: sizeOf(schema), schema });
const boolean = (cost: number): Estimate => valued({ type: 'boolean' }, cost);

function fieldOf(schema: CelSchema | undefined, name: string): CelSchema | undefined {
  const own = Object.entries(schema?.properties ?? {}).find(([property]) => escapePropertyName(property) === name);
  return own?.[1] ?? schema?.additional;
}

function nodesOf(value: unknown): ASTNode[] {
  if (Array.isArray(value)) return value.flatMap(nodesOf);
  return typeof value === 'object' && value !== null && 'op' in value ? [value as ASTNode] : [];
}

/** A macro's body, as many times as what it runs over has items. */
function loop(name: string, receiver: ASTNode, args: readonly ASTNode[], scope: Scope): Estimate {
  const range = estimate(receiver, scope);
  const names = args.filter((arg, index) => arg.op === 'id' && index < (args.length > 2 && name !== 'map' ? 2 : 1));
  const inner = new Map(scope);
  const item = range.schema?.items ?? range.schema?.additional;
  const isMap = range.schema?.type === 'object';
  for (const [index, each] of names.entries()) {
    const isKey = isMap && index === 0;
    const isIndex = !isMap && names.length === 2 && index === 0;
    const key: CelSchema = isIndex ? { type: 'integer' } : { type: 'string' };
    inner.set(String(each.args), valued(isKey || isIndex ? key : item, 1));
  }
  const bodies = args.slice(names.length).map((body) => estimate(body, inner));
  const each = bodies.reduce((sum, body) => sum + body.cost, 1);
  const cost = range.cost + range.size * each;
  if (name === 'map' || name.startsWith('transform')) {
    const items = bodies.at(-1)?.schema;
    return {
      cost,
      size: range.size,
      schema: { type: 'array', ...(items === undefined ? {} : { items }), maxItems: Math.ceil(range.size) },
    };
  }
  return name === 'filter' ? { ...range, cost } : boolean(cost);
}

function call(name: string, parts: readonly Estimate[]): Estimate {
  const cost = parts.reduce((sum, part) => sum + part.cost, 1);
  const size = parts.reduce((sum, part) => sum + part.size, 0);
  const [first, second] = parts;
  switch (name) {
    case 'size':
    case 'dyn':
      return valued(name === 'size' ? { type: 'integer' } : undefined, cost);
    case 'matches':
    case 'linearMatches':
    case 'find':
    case 'findAll':
      return {
        cost: cost + (first?.size ?? 0) * 0.1 * Math.max(1, (second?.size ?? 0) * 0.25),
        size: first?.size ?? 0,
        schema: { type: 'string' },
      };
    case 'contains':
      return boolean(cost + (first?.size ?? 0) * 0.1 * Math.max(1, (second?.size ?? 0) * 0.1));
    case 'startsWith':
    case 'endsWith':
      return boolean(cost + (second?.size ?? 0) * 0.1);
    case 'has':
      return boolean(cost);
    default:
      return { cost: cost + size * 0.1, size: Math.max(1, size), schema: undefined };
  }
}

function binary(op: string, left: Estimate, right: Estimate): Estimate {
  const cost = left.cost + right.cost;
  switch (op) {
    case '==':
    case '!=':
      return boolean(cost + Math.max(1, Math.min(left.size, right.size) * 0.1));
    case 'in':
      return boolean(cost + Math.max(1, right.size));
    case '+':
      return {
        cost: cost + Math.max(1, (left.size + right.size) * 0.1),
        size: left.size + right.size,
        schema: left.schema,
      };
    case '<':
    case '<=':
    case '>':
    case '>=':
      return boolean(cost + Math.max(1, Math.min(left.size, right.size) * 0.1));
    default:
      return { cost: cost + 1, size: 1, schema: left.schema };
  }
}

function estimate(node: ASTNode, scope: Scope): Estimate {
  switch (node.op) {
    case 'value':
      return { cost: 0, size: typeof node.args === 'string' ? node.args.length : 1, schema: undefined };
    case 'id':
      return scope.get(node.args) ?? { cost: 1, size: 1, schema: undefined };
    case '.':
    case '.?': {
      const [target, name] = node.args;
      const from = estimate(target, scope);
      return valued(fieldOf(from.schema, name), from.cost + 1);
    }
    case '[]':
    case '[?]': {
      const [target, index] = node.args;
      const from = estimate(target, scope);
      return valued(from.schema?.items ?? from.schema?.additional, from.cost + estimate(index, scope).cost + 1);
    }
    case 'rcall': {
      const [name, receiver, args] = node.args;
      if (loops.has(name)) return loop(name, receiver, args, scope);
      if (name === 'bind' && args.length === 3) {
        const [variable, value, body] = args as [ASTNode, ASTNode, ASTNode];
        const bound = estimate(value, scope);
        const result = estimate(body, new Map(scope).set(String(variable.args), { ...bound, cost: 1 }));
        return { ...result, cost: result.cost + bound.cost };
      }
      return call(
        name,
        [receiver, ...args].map((part) => estimate(part, scope)),
      );
    }
    case 'call': {
      const [name, args] = node.args;
      return call(
        name,
        args.map((part) => estimate(part, scope)),
      );
    }
    case '?:': {
      const [condition, left, right] = node.args.map((part) => estimate(part, scope)) as [Estimate, Estimate, Estimate];
      const larger = left.size >= right.size ? left : right;
      return { ...larger, cost: condition.cost + Math.max(left.cost, right.cost) };
    }
    case '==':
    case '!=':
    case 'in':
    case '+':
    case '-':
    case '*':
    case '/':
    case '%':
    case '<':
    case '<=':
    case '>':
    case '>=': {
      const [left, right] = node.args.map((part) => estimate(part, scope)) as [Estimate, Estimate];
      return binary(node.op, left, right);
    }
    default: {
      const parts = nodesOf(node.args).map((part) => estimate(part, scope));
      const cost = parts.reduce((sum, part) => sum + part.cost, costOfNode[node.op] ?? 1);
      return { cost, size: Math.max(1, parts.length), schema: undefined };
    }
  }
}

/** In the units of evaluation; `variables` are the shapes of what the expression may name. */
export function estimateCost(ast: ASTNode, variables: Readonly<Record<string, CelSchema>>): number {
  const scope = new Map(Object.entries(variables).map(([name, schema]) => [name, valued(schema, 1)] as const));
  return estimate(ast, scope).cost;
}
