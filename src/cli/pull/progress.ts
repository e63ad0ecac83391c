import { berth } from '../../wire/index.ts';
import type { Sink } from '../context.ts';
import { humanSize } from '../output/units.ts';

/** Told of the layers as they stand, as often as they change. */
export interface PullDisplay {
  show(layers: readonly berth.LayerProgress[]): void;
  end(): void;
}

const words: Readonly<Record<number, string>> = {
  [berth.LayerState.LAYER_WAITING]: 'waiting',
  [berth.LayerState.LAYER_DOWNLOADING]: 'downloading',
  [berth.LayerState.LAYER_DOWNLOADED]: 'downloaded',
  [berth.LayerState.LAYER_UNPACKING]: 'unpacking',
  [berth.LayerState.LAYER_DONE]: 'done',
};

/** A bar for each layer on a terminal, else a line for each change of a layer's state. */
export function pullDisplay(out: Sink): PullDisplay {
  return out.isTerminal ? new Bars(out) : new Lines(out);
}

function shortDigest(digest: string): string {
  return digest.replace(/^sha256:/, '').slice(0, 12);
}

function wordOf(state: number): string {
  return words[state] ?? `state ${state}`;
}

class Lines implements PullDisplay {
  readonly #out: Sink;
  readonly #told = new Map<string, number>();

  constructor(out: Sink) {
    this.#out = out;
  }

  show(layers: readonly berth.LayerProgress[]): void {
    for (const { digest, state, total } of layers) {
      if (this.#told.get(digest) === state || state === berth.LayerState.LAYER_WAITING) continue;
      this.#told.set(digest, state);
      const size = total > 0n ? ` (${humanSize(total, 3)})` : '';
      this.#out.write(`${shortDigest(digest)}: ${wordOf(state)}${size}\n`);
    }
  }

  end(): void {
    // Everything is said.
  }
}

const leastMsBetween = 80;

class Bars implements PullDisplay {
  readonly #out: Sink;
  #drawn = 0;
  #last: readonly berth.LayerProgress[] = [];
  #at = 0;

  constructor(out: Sink) {
    this.#out = out;
  }

  show(layers: readonly berth.LayerProgress[]): void {
    this.#last = layers;
    if (Date.now() - this.#at < leastMsBetween) return;
    this.#draw();
  }

  end(): void {
    this.#draw();
  }

  #draw(): void {
    this.#at = Date.now();
    if (this.#last.length === 0) return;
    const up = this.#drawn > 0 ? `\u001b[${this.#drawn}A` : '';
    const lines = this.#last.map((layer) => `\u001b[2K${barLine(layer, this.#out.columns)}\n`);
    this.#out.write(`${up}${lines.join('')}`);
    this.#drawn = this.#last.length;
  }
}

/** One layer in a line that fits the terminal. */
export function barLine({ digest, state, done, total }: berth.LayerProgress, columns: number): string {
  const part = state === berth.LayerState.LAYER_DONE ? 1 : total > 0n ? Math.min(1, Number(done) / Number(total)) : 0;
  const amount = total > 0n ? `${humanSize(done, 3)}/${humanSize(total, 3)}` : '';
  const head = `${shortDigest(digest).padEnd(12)}  ${wordOf(state).padEnd(11)}  `;
  const room = columns - head.length - amount.length - 4;
  if (room < 8) return `${head}${amount}`.slice(0, columns - 1);
  const width = Math.min(room, 40);
  const filled = Math.round(part * width);
  return `${head}[${'='.repeat(filled)}${' '.repeat(width - filled)}] ${amount}`;
}
