import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { loadNative } from '../linux/index.ts';
import { help, parseCommand, UsageError } from './arguments.ts';
import { checkConfigFile, ConfigError, configToml, defaultToml, loadConfig } from './config/index.ts';
import { AlreadyRunningError } from './instance.ts';
import { serve } from './serve.ts';
import { version } from './version.ts';

const exitCodes = { failed: 1, usage: 2, alreadyRunning: 3 } as const;

// Node would open a debugger for whoever may send this signal; the launcher's flag closes the moments before this line.
process.on('SIGUSR1', () => undefined);

/** Beside the bundle; from source, where the build has put it. */
function addonPath(): string {
  const here = dirname(fileURLToPath(import.meta.url));
  const beside = join(here, 'berth.node');
  return existsSync(beside) ? beside : join(here, '../../dist/lib/berth.node');
}

async function main(): Promise<void> {
  const searchPath = process.env['PATH'] ?? '';
  const command = parseCommand(process.argv.slice(2));
  switch (command.kind) {
    case 'help':
      process.stdout.write(help);
      return;
    case 'version':
      process.stdout.write(`berthd ${version}\n`);
      return;
    case 'default':
      process.stdout.write(defaultToml());
      return;
    case 'check':
      process.stdout.write(`${checkConfigFile(command.file)}: ok\n`);
      return;
    case 'dump':
      process.stdout.write(configToml(loadConfig({ ...command, searchPath })));
      return;
    case 'serve': {
      const environment = {
        notifySocket: process.env['NOTIFY_SOCKET'],
        watchdogMicroseconds: process.env['WATCHDOG_USEC'],
        watchdogPid: process.env['WATCHDOG_PID'],
      };
      // They are for this process alone: no shim, plugin or runtime shall speak for it.
      for (const name of ['NOTIFY_SOCKET', 'WATCHDOG_USEC', 'WATCHDOG_PID']) Reflect.deleteProperty(process.env, name);
      const variables = Object.fromEntries(
        Object.entries(process.env).filter((entry): entry is [string, string] => entry[1] !== undefined),
      );
      const addon = addonPath();
      const shimBinary = join(dirname(addon), '../bin/containerd-shim-berth-v2');
      await serve(loadConfig({ ...command, searchPath }), loadNative(addon), environment, {
        addon,
        shimBinary,
        variables,
      });
    }
  }
}

main().catch((error: unknown) => {
  const text = error instanceof Error ? error.message : String(error);
  process.stderr.write(text.replace(/^/gm, 'berthd: ') + '\n');
  if (error instanceof UsageError) process.stderr.write('"berthd --help" says what there is.\n');
  const isUsage = error instanceof UsageError || error instanceof ConfigError;
  process.exit(
    isUsage ? exitCodes.usage : error instanceof AlreadyRunningError ? exitCodes.alreadyRunning : exitCodes.failed,
  );
});
