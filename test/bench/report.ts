import type { Metric, Results, Summary } from './result.ts';
import { table } from './table.ts';

/** A difference below this share is noise and named neither way. */
const noiseShare = 0.05;

export interface Columns {
  /** The contestants. */
  names: readonly string[];
  /** The one of ours that is compared, and the one that it is compared with. */
  compared: string;
  reference: string;
  /** One more column, where anything was measured for it. */
  beside?: string;
}

/** The measurements as tables, and what follows from them in sentences. */
export function report(metrics: readonly Metric[], columns: Columns, results: Results): string {
  const { names, beside } = columns;
  const measured = metrics.filter((metric) => names.some((name) => results.summary(metric, name)));
  const hasBeside = beside !== undefined && measured.some((metric) => results.summary(metric, beside));
  const shown = hasBeside ? [...names, beside] : names;
  const rows = measured.map((metric) => [
    `${metric.title} (${metric.unit})`,
    ...shown.map((name) => cell(metric, results.summary(metric, name))),
  ]);
  const meanings = measured.map((metric) => `- **${metric.title}**: ${metric.means}.`);
  return [
    table(['median (95th percentile)', ...shown], rows),
    '',
    ...verdict(measured, columns, results),
    '',
    'What the rows mean:',
    '',
    ...meanings,
  ].join('\n');
}

function cell(metric: Metric, summary: Summary | undefined): string {
  if (!summary) return '—';
  const digits = metric.unit === 'MB/s' || metric.unit === 'ms CPU' ? 0 : metric.unit === 'MB' ? 2 : 1;
  const [middle, high] = [summary.median, summary.p95].map((value) => value.toFixed(digits));
  return `${middle} (${high})`;
}

/** Where we are behind and where ahead, of what was measured for both. */
function verdict(metrics: readonly Metric[], columns: Columns, results: Results): string[] {
  const { names, compared, reference } = columns;
  if (!names.includes(compared) || !names.includes(reference)) return [];
  const lists = { behind: [] as string[], ahead: [] as string[], even: [] as string[] };
  for (const metric of metrics) {
    const [ours, theirs] = [results.summary(metric, compared), results.summary(metric, reference)];
    if (!ours || !theirs) continue;
    const { place, text } = compare(metric, ours.median, theirs.median);
    lists[place].push(text);
  }
  const list = (items: string[]) => (items.length ? items.map((item) => `- ${item}`) : ['- nowhere']);
  return [
    `Where ${compared} is behind ${reference}, by medians:`,
    '',
    ...list(lists.behind),
    '',
    'Where it is ahead:',
    '',
    ...list(lists.ahead),
    ...(lists.even.length ? ['', `Within ${noiseShare * 100} %: ${lists.even.join(', ')}.`] : []),
  ];
}

function compare(metric: Metric, ours: number, theirs: number): { place: 'behind' | 'ahead' | 'even'; text: string } {
  const isBetter = metric.better === 'lower' ? ours < theirs : ours > theirs;
  const [big, small] = [Math.max(ours, theirs), Math.min(ours, theirs)];
  if (big === small || (big - small) / big < noiseShare) return { place: 'even', text: metric.title };
  const digits = big < 10 ? 2 : 1;
  const times = small > 0 ? `, ${(big / small).toFixed(big / small < 10 ? 2 : 0)} times` : '';
  const figures = `${ours.toFixed(digits)} ${metric.unit} against ${theirs.toFixed(digits)} ${metric.unit}${times}`;
  return { place: isBetter ? 'ahead' : 'behind', text: `${metric.title}: ${figures}` };
}
