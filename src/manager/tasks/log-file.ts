import { constants } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';

const mode = 0o640;

const { O_APPEND, O_CREAT, O_NOFOLLOW, O_WRONLY } = constants;
/** A pod that can write where its log is must not have us write elsewhere. */
const flags = O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW;

/** A file that is only appended to, one piece after the other, and that can be opened anew after it was renamed. */
export class LogFile {
  readonly #path: string;
  readonly #failed: (error: unknown) => void;
  #file: FileHandle | undefined;
  #last: Promise<void> = Promise.resolve();

  /** @param failed is told when a piece could not be written; it is dropped */
  constructor(path: string, failed: (error: unknown) => void) {
    this.#path = path;
    this.#failed = failed;
  }

  /** Resolves when all of it is in the file, or dropped. */
  append(bytes: Buffer): Promise<void> {
    return this.#next(async () => {
      if (bytes.length === 0) return;
      this.#file ??= await open(this.#path, flags, mode);
      await this.#file.appendFile(bytes);
    });
  }

  /** Makes the file if it is not there. @throws SystemError */
  async make(): Promise<void> {
    this.#file ??= await open(this.#path, flags, mode);
  }

  /** When it resolves the next piece is certain to go to the file that has the name then. */
  reopen(): Promise<void> {
    return this.#next(async () => {
      await this.#file?.close();
      this.#file = undefined;
      this.#file = await open(this.#path, flags, mode);
    });
  }

  close(): Promise<void> {
    return this.#next(async () => {
      await this.#file?.close();
      this.#file = undefined;
    });
  }

  #next(work: () => Promise<void>): Promise<void> {
    this.#last = this.#last.then(work).catch(this.#failed);
    return this.#last;
  }
}
