/**
 * A name server that knows one name. The suite has containers resolve `example.com`; with this the run needs no internet, and
 * what is judged is the container's way to a name server, not the machine's.
 */
import { createSocket, type Socket } from 'node:dgram';

const knownName = 'example.com';
const knownAddress = [192, 0, 2, 10];
const typeAddress = 1;
const headerBytes = 12;
const flagsAnswer = 0x8180;
const flagsNoSuchName = 0x8183;
const portDns = 53;

/** The answer to one DNS message (RFC 1035), or undefined for what is no question. */
export function answerTo(question: Buffer): Buffer | undefined {
  if (question.length < headerBytes || question.readUInt16BE(4) !== 1) return undefined;
  const labels: string[] = [];
  let at = headerBytes;
  for (let length = question[at]; length; length = question[at]) {
    labels.push(question.toString('latin1', at + 1, at + 1 + length));
    at += 1 + length;
  }
  const end = at + 5;
  if (end > question.length) return undefined;
  const known = labels.join('.').toLowerCase() === knownName;
  const hasAddress = known && question.readUInt16BE(at + 1) === typeAddress;
  const head = Buffer.from(question.subarray(0, headerBytes));
  head.writeUInt16BE(known ? flagsAnswer : flagsNoSuchName, 2);
  head.writeUInt16BE(hasAddress ? 1 : 0, 6);
  head.writeUInt32BE(0, 8);
  const record = hasAddress ? [0xc0, headerBytes, 0, typeAddress, 0, 1, 0, 0, 0, 60, 0, 4, ...knownAddress] : [];
  return Buffer.concat([head, question.subarray(headerBytes, end), Buffer.from(record)]);
}

/** Serves on 127.0.0.1:53 until closed. */
export async function startResolver(): Promise<Socket> {
  const socket = createSocket('udp4');
  socket.on('message', (question, peer) => {
    const answer = answerTo(question);
    if (answer) socket.send(answer, peer.port, peer.address);
  });
  await new Promise<void>((listening, failed) => {
    socket.once('error', failed);
    socket.bind(portDns, '127.0.0.1', listening);
  });
  return socket;
}
