import type { NativeAddon } from '../linux/index.ts';
import { ShimCommands } from './commands.ts';
import type { ShimConfig } from './config.ts';
import { Exits } from './exits.ts';
import { Reactor } from './reactor.ts';

function ignore(): void {
  // nothing has stdio or clients here
}

/** For commands of the shim that are no daemon: a loop and a reaper for as long as `run` takes. */
export async function withLoop<T>(
  native: NativeAddon,
  config: ShimConfig,
  run: (reactor: Reactor, commands: ShimCommands) => Promise<T>,
): Promise<T> {
  const exits = new Exits();
  let nextId = 1;
  const reactor = new Reactor(native.createLoop(), exits, () => nextId++);
  reactor.start({ spooling: ignore, sinkError: ignore, clientGone: ignore, failed: ignore }, ignore);
  try {
    return await run(reactor, new ShimCommands(native, exits, config.children));
  } finally {
    reactor.stop();
  }
}
