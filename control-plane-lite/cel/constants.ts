// Values of the language's own types from their texts.
import { evaluate } from '@marcbachmann/cel-js';

/** `duration("1h")` and the like; undefined for a text that is none. */
export function evaluateConstant(type: 'duration' | 'timestamp', text: string): unknown {
  try {
    return evaluate(`${type}(text)`, { text }) as unknown;
  } catch {
    return undefined;
  }
}
