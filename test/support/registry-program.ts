// Program run inside a network namespace: a test registry that prints its address. Ends when its standard input does.
import { startTestRegistry } from './test-registry.ts';

const registry = await startTestRegistry();
process.stdout.write(`${registry.host}\n`);
process.stdin.resume();
process.stdin.once('end', () => void registry[Symbol.asyncDispose]());
