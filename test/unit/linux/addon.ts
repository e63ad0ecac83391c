import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import { loadNative, unmountAllUnder } from '../../../src/linux/index.ts';
import type { ChildExit, Loop, LoopEvent, SpawnOptions } from '../../../src/linux/index.ts';

export const root = join(import.meta.dirname, '../../..');

/** The addon as `npm run build` leaves it. */
export const native = loadNative(join(root, 'dist/lib/berth.node'));

/** A folder of this test file's own; what is mounted in it goes with it. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'berth-linux-'));
  after(() => {
    unmountAllUnder(folder, native);
    rmSync(folder, { recursive: true, force: true });
  });
  return folder;
}

/** A started loop that collects what it reports and lets tests wait for it. */
export class Watcher {
  readonly loop: Loop;
  readonly events: LoopEvent[] = [];
  readonly #collects: boolean;
  #waiting: { matches: (event: LoopEvent) => boolean; resolve: (event: LoopEvent) => void }[] = [];

  constructor(loop: Loop = native.createLoop(), collects = true) {
    this.loop = loop;
    this.#collects = collects;
    this.start();
  }

  start(): void {
    this.loop.start((events) => {
      for (const event of events) this.#see(event);
    });
  }

  #see(event: LoopEvent): void {
    this.events.push(event);
    if (this.#collects && event.kind === 'exit') this.loop.collect(event.pid);
    const ready = this.#waiting.filter(({ matches }) => matches(event));
    this.#waiting = this.#waiting.filter((waiting) => !ready.includes(waiting));
    for (const { resolve } of ready) resolve(event);
  }

  /** The first event, of those that were and those that come, that matches. */
  async event(matches: (event: LoopEvent) => boolean): Promise<LoopEvent> {
    const seen = this.events.find(matches);
    if (seen !== undefined) return seen;
    return await new Promise((resolve) => this.#waiting.push({ matches, resolve }));
  }

  /** As `event`, of one kind. */
  async of<Kind extends LoopEvent['kind']>(kind: Kind, id?: number): Promise<Extract<LoopEvent, { kind: Kind }>> {
    const event = await this.event(
      (other) => other.kind === kind && (id === undefined || ('id' in other && other.id === id)),
    );
    return event as Extract<LoopEvent, { kind: Kind }>;
  }

  async exitOf(pid: number): Promise<ChildExit> {
    return (await this.event((event) => event.kind === 'exit' && event.pid === pid)) as ChildExit & LoopEvent;
  }

  /** Runs a shell command and gives how it ended and what it wrote. */
  async shell(script: string, options: Partial<SpawnOptions> = {}): Promise<{ exit: ChildExit; output: string }> {
    const output = native.memfd('output');
    const argv = ['sh', '-c', script];
    try {
      const fds = [-1, output, output];
      const pid = native.spawn({ file: '/bin/sh', argv, env: ['PATH=/usr/sbin:/usr/bin:/sbin:/bin'], fds, ...options });
      const exit = await this.exitOf(pid);
      return { exit, output: readFileSync(`/proc/self/fd/${output}`, 'utf8') };
    } finally {
      native.close(output);
    }
  }
}

/** Calls the function until it gives something other than undefined or false. */
export async function until<Value>(look: () => Value | undefined | false, milliseconds = 10_000): Promise<Value> {
  const deadline = Date.now() + milliseconds;
  for (;;) {
    const value = look();
    if (value !== undefined && value !== false) return value;
    if (Date.now() > deadline) throw new Error(`not within ${milliseconds} ms: ${look.toString()}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
