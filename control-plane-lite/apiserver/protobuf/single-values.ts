// Messages whose JSON form is a single value: quantities, times, ports, raw JSON. Their fields are plain on the wire.
import { formatGoDuration, parseGoDuration } from './go-duration.ts';

export type Fields = Readonly<Record<string, unknown>>;

export interface SingleValue {
  /** Undefined: an absent value. Throws for what is none. */
  fromFields(fields: Fields): unknown;
  toFields(value: unknown): Fields;
}

const numberOf = (value: unknown): number => (typeof value === 'number' ? value : 0);
const textOf = (value: unknown): string => (typeof value === 'string' ? value : '');

const nanosPerMs = 1_000_000;
/** Years 1 to 9999: what the text form of a time can say. */
const firstSecond = -62_135_596_800;
const lastSecond = 253_402_300_799;

function formatTime({ seconds, nanos }: Fields, isMicro: boolean): string | undefined {
  const [whole, part] = [numberOf(seconds), numberOf(nanos)];
  if (whole === 0 && part === 0) return undefined;
  if (whole < firstSecond || whole > lastSecond || part < 0 || part > 999_999_999) {
    throw new Error('a time is out of range');
  }
  const text = new Date(whole * 1000).toISOString().slice(0, 19);
  return isMicro ? `${text}.${String(Math.floor(part / 1000)).padStart(6, '0')}Z` : `${text}Z`;
}

/** JSON has whole seconds for Time, and microseconds for MicroTime: more is not written. */
function parseTime(value: unknown, isMicro: boolean): Fields {
  const text = textOf(value);
  const ms = Date.parse(text);
  if (Number.isNaN(ms)) return {};
  const seconds = Math.floor(ms / 1000);
  if (!isMicro) return { seconds, nanos: 0 };
  const digits = /\.(\d+)/.exec(text)?.[1];
  const micros = digits === undefined ? 0 : Number(digits.slice(0, 6).padEnd(6, '0'));
  return { seconds, nanos: (micros * nanosPerMs) / 1000 };
}

function parseRaw(bytes: unknown): unknown {
  const text = Buffer.from(textOf(bytes), 'base64').toString();
  return text === '' ? undefined : JSON.parse(text);
}

const rawJson = (field: string): SingleValue => ({
  fromFields: (fields) => parseRaw(fields[field]),
  toFields: (value) => ({ [field]: Buffer.from(JSON.stringify(value)) }),
});

const time = (isMicro: boolean): SingleValue => ({
  fromFields: (fields) => formatTime(fields, isMicro),
  toFields: (value) => parseTime(value, isMicro),
});

const textType = 1;

const singles: Readonly<Record<string, SingleValue>> = {
  'k8s.io.apimachinery.pkg.api.resource.Quantity': {
    fromFields: ({ string = '0' }) => string,
    toFields: (value) => ({ string: String(value) }),
  },
  'k8s.io.apimachinery.pkg.util.intstr.IntOrString': {
    fromFields: ({ type = 0, intVal = 0, strVal = '' }) => (type === textType ? strVal : intVal),
    toFields: (value) =>
      typeof value === 'number'
        ? { type: 0, intVal: value, strVal: '' }
        : { type: textType, intVal: 0, strVal: textOf(value) },
  },
  'k8s.io.apimachinery.pkg.apis.meta.v1.Time': time(false),
  'k8s.io.apimachinery.pkg.apis.meta.v1.MicroTime': time(true),
  'k8s.io.apimachinery.pkg.apis.meta.v1.Duration': {
    fromFields: ({ duration }) => formatGoDuration(numberOf(duration)),
    toFields: (value) => ({ duration: parseGoDuration(textOf(value)) }),
  },
  'k8s.io.apimachinery.pkg.apis.meta.v1.FieldsV1': rawJson('Raw'),
  'k8s.io.apimachinery.pkg.runtime.RawExtension': rawJson('raw'),
};

const isList = Array.isArray;

/** Values of schemas of custom resources, which are one thing or another in JSON. */
const schemaSingles: Readonly<Record<string, SingleValue>> = {
  JSON: rawJson('raw'),
  JSONSchemaPropsOrBool: {
    fromFields: ({ schema, allows = false }) => schema ?? allows,
    toFields: (value) => (typeof value === 'boolean' ? { allows: value } : { allows: true, schema: value }),
  },
  JSONSchemaPropsOrArray: {
    fromFields: ({ schema, jSONSchemas }) => jSONSchemas ?? schema,
    toFields: (value) => (isList(value) ? { jSONSchemas: value } : { schema: value }),
  },
  JSONSchemaPropsOrStringArray: {
    fromFields: ({ schema, property }) => property ?? schema,
    toFields: (value) => (isList(value) ? { property: value } : { schema: value }),
  },
};

const schemaPackage = /^k8s\.io\.apiextensions_apiserver\.pkg\.apis\.apiextensions\.v1(?:beta1)?\.(\w+)$/;

/** How the value of a message is read and written, where JSON has a single one; else undefined. */
export function singleValueOf(message: string): SingleValue | undefined {
  const own = schemaPackage.exec(message)?.[1];
  return own === undefined ? singles[message] : schemaSingles[own];
}
