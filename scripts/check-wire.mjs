// Compares proto/ with the wire tables that lie beside the project, where there are any.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const projectRoot = dirname(dirname(fileURLToPath(import.meta.url)));
const checker = join(projectRoot, '../shared/wire/check.mjs');

if (existsSync(checker)) {
  const { status } = spawnSync(process.execPath, [checker], { cwd: projectRoot, stdio: 'inherit' });
  process.exitCode = status ?? 1;
} else {
  console.log(`check-wire: there are no wire tables at ${checker}, so nothing was compared`);
}
