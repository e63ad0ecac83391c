import { berth } from '../../wire/index.ts';
import type { Descriptor } from './document.ts';

/** How far one layer is. */
export type LayerProgress = berth.LayerProgress;

const { LAYER_WAITING, LAYER_DOWNLOADING, LAYER_DOWNLOADED, LAYER_UNPACKING, LAYER_DONE } = berth.LayerState;
const tellMilliseconds = 100;

/** How far the layers of one image are, told to whoever wants to know, not more often than a terminal can show it. */
export class Progress {
  readonly #tell: (layers: LayerProgress[]) => void;
  #layers: LayerProgress[] = [];
  #told = 0;

  constructor(tell: (layers: LayerProgress[]) => void) {
    this.#tell = tell;
  }

  begin(layers: readonly Descriptor[]): void {
    this.#layers = layers.map(({ digest, size }) => ({ digest, state: LAYER_WAITING, done: 0n, total: BigInt(size) }));
    this.#changed(true);
  }

  /** @param bytes of each layer that is coming, in the order in which they were asked for: whose they are is not known */
  downloading(bytes: readonly number[]): void {
    const coming = this.#layers.filter(({ state }) => state === LAYER_WAITING || state === LAYER_DOWNLOADING);
    const largestFirst = [...bytes].sort((a, b) => b - a);
    for (const layer of coming) {
      const at = largestFirst.findIndex((size) => BigInt(size) <= layer.total);
      if (at < 0) continue;
      const [size = 0] = largestFirst.splice(at, 1);
      if (BigInt(size) < layer.done) continue;
      layer.state = LAYER_DOWNLOADING;
      layer.done = BigInt(size);
    }
    this.#changed(false);
  }

  downloaded(index: number): void {
    this.#set(index, LAYER_DOWNLOADED, undefined);
  }

  /** @param bytes of the layer as the registry has it */
  unpacking(index: number, bytes: number): void {
    this.#set(index, LAYER_UNPACKING, BigInt(bytes));
  }

  done(index: number): void {
    this.#set(index, LAYER_DONE, undefined);
  }

  #set(index: number, state: LayerProgress['state'], done: bigint | undefined): void {
    const layer = this.#layers[index];
    if (layer === undefined) return;
    const isNew = layer.state !== state;
    layer.state = state;
    layer.done = done === undefined || done > layer.total ? layer.total : done;
    this.#changed(isNew);
  }

  #changed(now: boolean): void {
    const time = performance.now();
    if (!now && time - this.#told < tellMilliseconds) return;
    this.#told = time;
    this.#tell(this.#layers.map((layer) => ({ ...layer })));
  }
}
