// Program run inside a network namespace: a relay from LISTEN_HOST LISTEN_PORT to HOST PORT. Ends, and all connections
// with it, when its standard input does.
import { startTcpRelay } from './tcp-relay.ts';

const [listenHost = '', listenPort = '', host = '', port = ''] = process.argv.slice(2);
await startTcpRelay(host, Number(port), { host: listenHost, port: Number(listenPort) });
process.stdout.write('listening\n');
process.stdin.on('end', () => process.exit());
process.stdin.resume();
