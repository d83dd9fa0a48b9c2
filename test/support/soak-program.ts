// Program run inside the network namespace of a test's cluster: a short soak of its node, INSTANCE HOSTNAME. Prints the
// result as JSON.
import { soakNode } from '../../bench/soak/soak-node.ts';

const [instance = '', hostname = ''] = process.argv.slice(2);
const result = await soakNode({ instance, hostname, warmUpMs: 12_000, durationMs: 18_000, settleMs: 5000 });
process.stdout.write(JSON.stringify(result));
