/** What a tar archive says of one file. Names are bytes, here as latin1 characters. */
export interface TarEntry {
  type: 'file' | 'link' | 'symlink' | 'character' | 'block' | 'directory' | 'fifo';
  path: string;
  /** Of hard and symbolic links. */
  target: string;
  /** Permission bits with set-id and sticky. */
  mode: number;
  uid: number;
  gid: number;
  /** Of the file when it is there, holes included. */
  size: number;
  /** Seconds since the epoch. */
  mtime: number;
  major: number;
  minor: number;
  xattrs: [name: string, value: Buffer][];
}

/** Who takes an archive's files, in its order. */
export interface TarTaker {
  begin(entry: TarEntry): void;
  /** Some of a file's content; `position` grows, and what is left out reads as zeros. */
  write(content: Buffer, position: number): void;
  end(): void;
}
