import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { loadNative } from '../linux/index.ts';
import { parseArguments } from './args.ts';
import { readConfig } from './config.ts';
import { Daemon } from './daemon.ts';
import { deleteContainer } from './delete.ts';
import { handoverVariables, readHandover } from './handover.ts';
import { nextIdleSeconds } from './idle.ts';
import { printInfo, printVersion } from './info.ts';
import { start } from './start.ts';

const usage = `usage: containerd-shim-berth-v2 -namespace NAME -id ID -address ADDRESS [-debug] start
       containerd-shim-berth-v2 -namespace NAME -id ID -address ADDRESS -bundle FOLDER delete
       containerd-shim-berth-v2 -v | -info
Run by containerd or berthd, in the container's bundle; see docs/containerd.md.
`;

const library = dirname(fileURLToPath(import.meta.url));

async function main(): Promise<void> {
  const native = loadNative(join(library, 'berth.node'));
  const config = readConfig(process.env, join(library, '../bin/containerd-shim-berth-v2'));
  const handover = readHandover(process.env, native);
  if (handover !== undefined) {
    const wokenByRequest = process.env[handoverVariables.wokenBy] === 'request';
    const { record, reason, atMs } = handover;
    if (reason === 'sleep') {
      record.idleSeconds = nextIdleSeconds(
        record.idleSeconds,
        config.sleepAfterSeconds,
        Date.now() - atMs,
        wokenByRequest,
      );
    }
    new Daemon(record, handover.listener, native, config, handover);
    return;
  }
  const args = parseArguments(process.argv.slice(2));
  switch (args.action) {
    case 'start':
      start(args, native, config);
      return;
    case 'delete':
      await deleteContainer(args, native, config);
      return;
    case 'version':
      printVersion();
      return;
    case 'info':
      await printInfo(native, config);
      return;
    case 'help':
      process.stdout.write(usage);
      return;
    case 'serve':
      process.stderr.write(usage);
      process.exitCode = 1;
  }
}

main().catch((error: unknown) => {
  process.stderr.write(`containerd-shim-berth-v2: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(1);
});
