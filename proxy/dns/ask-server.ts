// Asks one resolver one question: over UDP, and over TCP where the answer does not fit.
import { createSocket } from 'node:dgram';
import { connect, isIP } from 'node:net';
import type { Clock } from '#kube/process/clock.ts';
import { flagBits, headerBytes } from './parse-query.ts';

const timeoutMs = 2000;

/** Whether this answers the very question that was sent: anyone can send to our port. */
function isAnswerTo(question: Buffer, packet: Buffer, answer: Buffer): boolean {
  const end = headerBytes + question.length;
  return (
    answer.length >= end &&
    answer.readUInt16BE(0) === packet.readUInt16BE(0) &&
    (answer.readUInt16BE(2) & flagBits.response) !== 0 &&
    answer.readUInt16BE(4) === 1 &&
    answer.toString('latin1', headerBytes, end).toLowerCase() === question.toString('latin1').toLowerCase()
  );
}

interface Inquiry {
  packet: Buffer;
  question: Buffer;
  address: string;
  port: number;
  clock: Clock;
}

function askByUdp({ packet, question, address, port, clock }: Inquiry): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const socket = createSocket(isIP(address) === 6 ? 'udp6' : 'udp4');
    let isOver = false;
    const finish = (result: Buffer | Error): void => {
      if (isOver) return;
      isOver = true;
      timer.cancel();
      socket.close();
      if (result instanceof Error) reject(result);
      else resolve(result);
    };
    const timer = clock.after(timeoutMs, () => finish(new Error(`resolver ${address} did not answer`)));
    socket.on('error', finish);
    socket.on('message', (answer) => {
      if (isAnswerTo(question, packet, answer)) finish(answer);
    });
    socket.connect(port, address, () => {
      if (!isOver) socket.send(packet);
    });
  });
}

function askByTcp({ packet, question, address, port, clock }: Inquiry): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, address);
    let received = Buffer.alloc(0);
    const fail = (error: Error): void => {
      timer.cancel();
      socket.destroy();
      reject(error);
    };
    const timer = clock.after(timeoutMs, () => fail(new Error(`resolver ${address} did not answer by TCP`)));
    socket.on('error', fail);
    socket.on('close', () => fail(new Error(`resolver ${address} closed the connection`)));
    socket.on('connect', () => {
      const length = Buffer.alloc(2);
      length.writeUInt16BE(packet.length);
      socket.write(Buffer.concat([length, packet]));
    });
    socket.on('data', (chunk) => {
      received = Buffer.concat([received, chunk]);
      if (received.length < 2 || received.length < 2 + received.readUInt16BE(0)) return;
      const answer = received.subarray(2, 2 + received.readUInt16BE(0));
      if (!isAnswerTo(question, packet, answer)) {
        fail(new Error(`resolver ${address} answers another question`));
        return;
      }
      resolve(answer);
      fail(new Error('answered'));
    });
  });
}

/** Rejects when the server does not answer within two seconds. */
export async function askServer(inquiry: Inquiry): Promise<Buffer> {
  const answer = await askByUdp(inquiry);
  const isCut = (answer.readUInt16BE(2) & flagBits.truncated) !== 0;
  return isCut ? askByTcp(inquiry).catch(() => answer) : answer;
}
