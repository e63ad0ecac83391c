/** Reads what Ginkgo writes under `--ginkgo.json-report`. */
import type { Outcome, Test } from './results.ts';

interface SpecReport {
  ContainerHierarchyTexts: string[] | null;
  LeafNodeType: string;
  LeafNodeText: string;
  State: string;
  /** Nanoseconds. */
  RunTime: number;
  Failure?: { Message?: string; Location?: { FileName?: string; LineNumber?: number } };
  CapturedGinkgoWriterOutput?: string;
}

export interface SuiteReport {
  SuiteConfig: { RandomSeed: number };
  SpecReports: SpecReport[];
}

const outcomes: Record<string, Outcome | undefined> = { passed: 'passed', skipped: 'skipped', pending: 'skipped' };

/** Specs that measure instead of judging; the suite leaves them out by itself. */
const measures = /benchmark/i;

/**
 * The specs, by the texts around them and their own, without the suite's mark "[k8s.io]". What neither passed nor was skipped has
 * failed, however; so has anything around the specs (such as what is done before the suite) that did not go well.
 */
export function parseSpecs(report: SuiteReport): Test[] {
  const tests: Test[] = [];
  for (const spec of report.SpecReports) {
    const isSpec = spec.LeafNodeType === 'It';
    const outcome = outcomes[spec.State] ?? 'failed';
    if (!isSpec && outcome !== 'failed') continue;
    const texts = [...(spec.ContainerHierarchyTexts ?? []), spec.LeafNodeText].filter(Boolean);
    const name = texts.join(' ').replaceAll('[k8s.io] ', '') || `(${spec.LeafNodeType})`;
    if (measures.test(name)) continue;
    const { Message = '', Location: { FileName = '', LineNumber = 0 } = {} } = spec.Failure ?? {};
    const where = FileName && outcome === 'failed' ? [`at ${FileName}:${LineNumber} (${spec.State})`] : [];
    const said = outcome === 'failed' ? (spec.CapturedGinkgoWriterOutput ?? '').trimEnd().split('\n') : [];
    tests.push({ name, outcome, seconds: spec.RunTime / 1e9, output: [...said, ...where, ...Message.split('\n')] });
  }
  return tests;
}
