// YAML as Kubernetes reads it: version 1.1, where 0644 is octal and `yes` is true, but times of day and dates are text.
import { parse, type Tags } from 'yaml';

/** Numbers to base 60 and dates: the reference's parser leaves both alone. */
function isTime(tag: Tags[number]): boolean {
  if (typeof tag === 'string') return false;
  return tag.tag.endsWith(':timestamp') || ('format' in tag && tag.format === 'TIME');
}

const withoutTimes = (tags: Tags): Tags => tags.filter((tag) => !isTime(tag));

/** The value of one document. Throws for what is not YAML. A key given twice is an error only where asked for. */
export function parseYaml(text: string, { uniqueKeys = true }: { uniqueKeys?: boolean } = {}): unknown {
  return parse(text, { version: '1.1', uniqueKeys, customTags: withoutTimes, logLevel: 'error' });
}
