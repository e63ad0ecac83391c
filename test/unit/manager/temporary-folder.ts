import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';

/** A folder that goes with its test; its path is short enough for sockets. */
export function temporaryFolder(test: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'berth-mg-'));
  test.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}
