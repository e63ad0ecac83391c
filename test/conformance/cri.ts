/** Kubernetes's critest judges a daemon that serves CRI. */
import { mkdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { criToolsPrograms } from '../support/cri-tools.ts';
import { berthdBinary, repository } from '../support/paths.ts';
import { newScratch } from '../support/scratch.ts';
import { judgeApart } from './apart.ts';
import type { CriPlan, CriVerdict } from './cri-plan.ts';
import { report, say } from './report.ts';
import { type Findings, type Gap, problemsOf } from './results.ts';
import { standIns } from './stand-ins.ts';

const suite = 'critest';
/** How many specs run here at the pinned version: fewer than that ran means that it did not really run. */
const specsThatRun = new Map([
  ['berthd', 102],
  ['containerd', 94],
]);
const suiteSeconds = 900;

export const contestants = [...specsThatRun.keys()];

export interface CriOptions {
  /** One of `contestants`. */
  against: string;
  runtime: string;
  seed: string | undefined;
  focus: string | undefined;
}

export async function judgeCri(gaps: readonly Gap[], options: CriOptions): Promise<Findings> {
  const { against, runtime, seed, focus } = options;
  if (against === 'berthd' && !(await stat(berthdBinary).catch(() => undefined))) {
    throw new Error(`${berthdBinary} is not there: run "npm run build" first`);
  }
  const { critest, version, origin } = await criToolsPrograms();
  const images = await standIns(say);
  say(`suite: critest ${version}, ${origin}`);
  say(`daemon: ${against === 'berthd' ? berthdBinary : "Debian's containerd"}, with ${runtime}`);
  say('images: stand-ins made of Debian packages, from a registry on loopback; no internet is needed');
  const logs = join(repository, 'build/conformance');
  await mkdir(logs, { recursive: true });
  const { mark: tag, folder } = newScratch();
  const results = join(folder, 'verdict.json');
  const plan: CriPlan = {
    ...{ tag, folder, against, critest, images, logs, results, seconds: suiteSeconds },
    runtime: runtime === 'crun' ? 'crun' : 'runc',
    ...(seed !== undefined && { seed }),
    ...(focus !== undefined && { focus }),
  };
  let verdict: CriVerdict;
  try {
    verdict = (await judgeApart('cri-judge.ts', plan, results)) as CriVerdict;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  const { specs, podsLeft, left } = verdict;
  report('cri', suite, specs, verdict.seconds, verdict.logPath);
  say(`cri   order of the specs: --seed ${verdict.seed}; the daemon's log: ${verdict.daemonLogPath}`);
  for (const pod of podsLeft) say(`cri   removed a pod that a spec had left: ${pod}`);
  // The list of gaps is ours: it says nothing about others.
  const known = against === 'berthd' ? gaps.filter((gap) => gap.suite === suite) : [];
  const problems = problemsOf(suite, specs, focus === undefined ? (specsThatRun.get(against) ?? 1) : 1, known);
  const namesOf = new Set(specs.map((spec) => spec.name));
  const unknown = focus === undefined ? known.filter((gap) => !namesOf.has(gap.test)) : [];
  problems.push(
    ...unknown.map((gap) => `${suite} ${gap.test}: known-gaps.json names it, and the suite has no such spec`),
  );
  problems.push(...left.map((line) => `${suite}: left behind: ${line}`));
  if (left.length === 0)
    say('cri   nothing left behind: no process, mount, cgroup, network device, address, socket or file');
  for (const gap of known) say(`cri   known gap: ${gap.test}: ${gap.why}`);
  return { tests: specs, problems };
}
