/** One file of a tar archive that is made byte by byte, so that it can also be what no tar program would write. */
export interface TarFile {
  name: string;
  /** Type flag of the header. Default: '5' for a name that ends in "/", else '0'. */
  type?: string;
  content?: Buffer | string;
  /** Of links. */
  target?: string;
  /** Default 0755 for directories, else 0644. */
  mode?: number;
  uid?: number;
  gid?: number;
  /** Seconds since the epoch. Default 1,000,000,000. */
  mtime?: number;
  device?: [major: number, minor: number];
  /** Extended header records. */
  pax?: Record<string, string | Buffer>;
}

const blockBytes = 512;

/** A tar archive with these files in this order, and its end. */
export function tarArchive(files: readonly TarFile[]): Buffer {
  return Buffer.concat([...files.flatMap(parts), Buffer.alloc(2 * blockBytes)]);
}

function parts(file: TarFile): Buffer[] {
  const { name, target = '', content = '', pax = {} } = file;
  const bytes = Buffer.from(content);
  const records = Object.entries(pax).map(([key, value]) => paxRecord(key, Buffer.from(value)));
  const extended = Buffer.concat(records);
  return [
    ...(Buffer.byteLength(name) > 100 ? longName('L', name) : []),
    ...(Buffer.byteLength(target) > 100 ? longName('K', target) : []),
    ...(extended.length > 0 ? [header({ name: 'pax', type: 'x' }, extended.length), padded(extended)] : []),
    header(file, bytes.length),
    padded(bytes),
  ];
}

function longName(type: 'L' | 'K', name: string): Buffer[] {
  const bytes = Buffer.from(`${name}\0`);
  return [header({ name: '././@LongLink', type }, bytes.length), padded(bytes)];
}

function paxRecord(key: string, value: Buffer): Buffer {
  const rest = key.length + value.length + 3;
  let length = rest + 1;
  while (String(length).length + rest !== length) length = String(length).length + rest;
  return Buffer.concat([Buffer.from(`${length} ${key}=`), value, Buffer.from('\n')]);
}

export function header(file: TarFile, size: number): Buffer {
  const { name, type = name.endsWith('/') ? '5' : '0', target = '', uid = 0, gid = 0, mtime = 1_000_000_000 } = file;
  const block = Buffer.alloc(blockBytes);
  const octal = (offset: number, length: number, value: number) =>
    block.write(`${value.toString(8).padStart(length - 1, '0')}\0`, offset, 'latin1');
  block.write(name, 0, 100);
  octal(100, 8, file.mode ?? (type === '5' ? 0o755 : 0o644));
  octal(108, 8, uid);
  octal(116, 8, gid);
  octal(124, 12, size);
  octal(136, 12, mtime);
  block.write(type, 156, 'latin1');
  block.write(target, 157, 100);
  block.write('ustar\x0000', 257, 'latin1');
  octal(329, 8, file.device?.[0] ?? 0);
  octal(337, 8, file.device?.[1] ?? 0);
  return sealed(block);
}

/** With the checksum that it must have. */
export function sealed(block: Buffer): Buffer {
  block.write('        ', 148, 'latin1');
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return block;
}

export function padded(content: Buffer): Buffer {
  return Buffer.concat([content, Buffer.alloc((blockBytes - (content.length % blockBytes)) % blockBytes)]);
}
