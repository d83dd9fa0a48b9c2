// YAML as Kubernetes reads it: version 1.1, where 0644 is octal and `yes` is true, but times of day and dates are text.
import { parse, type Tags, YAMLError } from 'yaml';

/** Numbers to base 60 and dates: the reference's parser leaves both alone. */
function isTime(tag: Tags[number]): boolean {
  if (typeof tag === 'string') return false;
  return tag.tag.endsWith(':timestamp') || ('format' in tag && tag.format === 'TIME');
}

const withoutTimes = (tags: Tags): Tags => tags.filter((tag) => !isTime(tag));

/** Without the excerpt of the text that follows it, which may be secret and takes lines of its own. */
function inOneLine(error: unknown): unknown {
  if (!(error instanceof YAMLError)) return error;
  const [line = ''] = error.message.split('\n', 1);
  return new SyntaxError(line.replace(/:$/, ''));
}

/**
 * The value of one document. Throws for what is not YAML, in one line that says where. A key given twice is an error only
 * where asked for.
 */
export function parseYaml(text: string, { uniqueKeys = true }: { uniqueKeys?: boolean } = {}): unknown {
  try {
    return parse(text, { version: '1.1', uniqueKeys, customTags: withoutTimes, logLevel: 'error' });
  } catch (error) {
    throw inOneLine(error);
  }
}
