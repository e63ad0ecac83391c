/** The archive is malformed, or wants what no layer may do. */
export class MalformedArchive extends Error {
  override readonly name = 'MalformedArchive';
}

/** The content is not what its digest says. */
export class CorruptContent extends Error {
  override readonly name = 'CorruptContent';
}

/** Writing on would fill the disk. */
export class DiskNearlyFull extends Error {
  override readonly name = 'DiskNearlyFull';

  constructor(why: string) {
    super(`the disk is nearly full: ${why}; remove images or containers`);
  }
}
