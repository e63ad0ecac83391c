import { median, percentile } from './statistics.ts';

/** One thing that is measured, the same way for every contestant. */
export interface Metric {
  id: string;
  /** As the table's first column has it. */
  title: string;
  unit: 'ms' | 'MB' | 'MB/s' | 'ms CPU' | 'pods/s';
  better: 'lower' | 'higher';
  /** What exactly is measured; a sentence for below the table. */
  means: string;
}

/** Samples by metric and contestant. */
export class Results {
  readonly #samples = new Map<string, Map<string, number[]>>();

  add(metric: Metric, contestant: string, ...values: number[]): void {
    const byContestant = this.#samples.get(metric.id) ?? new Map<string, number[]>();
    this.#samples.set(metric.id, byContestant);
    byContestant.set(contestant, [...(byContestant.get(contestant) ?? []), ...values]);
  }

  summary(metric: Metric, contestant: string): Summary | undefined {
    const values = this.#samples.get(metric.id)?.get(contestant);
    if (!values?.length) return undefined;
    return { median: median(values), p95: percentile(values, 0.95), samples: values.length };
  }
}

export interface Summary {
  median: number;
  p95: number;
  samples: number;
}
