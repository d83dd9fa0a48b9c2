// Program run inside a network namespace: joins connections to a Unix socket with addresses of the namespace. The
// first line of a connection is `HOST PORT`. Ends when its standard input does.
import { connect, createServer } from 'node:net';

const server = createServer((socket) => {
  let start = '';
  const read = (chunk: Buffer) => {
    start += chunk.toString('latin1');
    const end = start.indexOf('\n');
    if (end < 0) return;
    socket.off('data', read);
    socket.pause();
    const [host = '', port = ''] = start.slice(0, end).split(' ');
    const target = connect({ host, port: Number(port), noDelay: true });
    if (start.length > end + 1) target.write(Buffer.from(start.slice(end + 1), 'latin1'));
    target.on('error', () => socket.destroy());
    socket.on('error', () => target.destroy());
    target.on('close', () => socket.destroy());
    socket.on('close', () => target.destroy());
    target.once('connect', () => {
      socket.pipe(target);
      target.pipe(socket);
    });
  };
  socket.on('data', read);
});
server.listen(process.argv[2]);
process.stdin.on('end', () => process.exit());
process.stdin.resume();
