import { MalformedArchive } from './errors.ts';

export const blockBytes = 512;

/** A header block, decoded as far as the block alone says; names are bytes as latin1 characters. */
export interface TarHeader {
  typeFlag: string;
  path: string;
  target: string;
  mode: number;
  uid: number;
  gid: number;
  /** Bytes that follow in the archive. */
  size: number;
  mtime: number;
  major: number;
  minor: number;
}

export function isZeroBlock(block: Buffer): boolean {
  for (let i = 0; i < blockBytes; i += 4) {
    if (block.readInt32LE(i) !== 0) return false;
  }
  return true;
}

/** Text up to the first null byte. */
export function textField(block: Buffer, offset: number, length: number): string {
  const end = block.indexOf(0, offset);
  return block.toString('latin1', offset, end < 0 || end > offset + length ? offset + length : end);
}

/** Octal digits, or GNU's binary form for what they cannot hold. @throws MalformedArchive */
export function numberField(block: Buffer, offset: number, length: number): number {
  const first = block[offset] ?? 0;
  if ((first & 0x80) !== 0) return binaryNumber(block, offset, length);
  const digits = block.toString('latin1', offset, offset + length).replace(/^[ \0]+|[ \0].*$/gs, '');
  if (digits === '') return 0;
  if (!/^[0-7]+$/.test(digits)) throw new MalformedArchive('a number of a tar header is not octal');
  return safe(Number.parseInt(digits, 8));
}

function binaryNumber(block: Buffer, offset: number, length: number): number {
  const bits = BigInt(8 * length);
  const value = BigInt(`0x${block.toString('hex', offset, offset + length)}`);
  const isNegative = ((block[offset] ?? 0) & 0x40) !== 0;
  return safe(Number(isNegative ? BigInt.asIntN(Number(bits), value) : value & ~(1n << (bits - 1n))));
}

function safe(value: number): number {
  if (!Number.isSafeInteger(value)) throw new MalformedArchive('a number of a tar header is too large');
  return value;
}

function checksumFits(block: Buffer): boolean {
  const wanted = numberField(block, 148, 8);
  let unsigned = 8 * 0x20;
  let high = 0;
  for (let i = 0; i < blockBytes; i++) {
    if (i === 148) i = 156;
    const byte = block[i] as number;
    unsigned += byte;
    if (byte >= 0x80) high++;
  }
  // Some archives of old have the sum of signed bytes.
  return wanted === unsigned || wanted === unsigned - 256 * high;
}

/** @throws MalformedArchive for what is no header */
export function parseHeader(block: Buffer): TarHeader {
  if (!checksumFits(block))
    throw new MalformedArchive('not a tar archive, or one that is damaged (a header has a wrong checksum)');
  const magic = block.toString('latin1', 257, 265);
  const isPosix = magic.startsWith('ustar\0');
  const isGnu = magic === 'ustar  \0';
  const name = textField(block, 0, 100);
  const prefix = isPosix ? textField(block, 345, 155) : '';
  const typeFlag = block.toString('latin1', 156, 157);
  const isDevice = typeFlag === '3' || typeFlag === '4';
  return {
    typeFlag,
    path: prefix === '' ? name : `${prefix}/${name}`,
    target: textField(block, 157, 100),
    mode: numberField(block, 100, 8) & 0o7777,
    uid: numberField(block, 108, 8),
    gid: numberField(block, 116, 8),
    size: numberField(block, 124, 12),
    mtime: numberField(block, 136, 12),
    major: isDevice && (isPosix || isGnu) ? numberField(block, 329, 8) : 0,
    minor: isDevice && (isPosix || isGnu) ? numberField(block, 337, 8) : 0,
  };
}
