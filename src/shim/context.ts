import type { NativeAddon } from '../linux/index.ts';
import type { Activity } from './activity.ts';
import type { ShimCommands } from './commands.ts';
import type { ShimConfig } from './config.ts';
import type { Events } from './events.ts';
import type { Exits } from './exits.ts';
import type { Log } from './log.ts';
import type { OomWatcher } from './oom.ts';
import type { Reactor } from './reactor.ts';
import type { RecordWriter } from './record-writer.ts';
import type { ShimRecord } from './record.ts';
import type { StdioFactory } from './stdio.ts';

/** What containers, sandboxes and services are made with. Wired in daemon.ts. */
export interface ShimContext {
  readonly config: ShimConfig;
  readonly record: ShimRecord;
  readonly native: NativeAddon;
  readonly reactor: Reactor;
  readonly exits: Exits;
  readonly commands: ShimCommands;
  readonly stdio: StdioFactory;
  readonly events: Events;
  readonly oom: OomWatcher;
  readonly activity: Activity;
  readonly log: Log;
  readonly records: RecordWriter;
  /** The shim's own record has changed. */
  save(): void;
  /** The same, and it must be in the bundle before what comes next. */
  saveNow(): void;
  /** Nanoseconds since the epoch. */
  now(): bigint;
}
