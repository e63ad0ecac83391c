import type { Test } from './results.ts';

/** What cri.ts has cri-judge.ts do. */
export interface CriPlan {
  /** Unique to the run. */
  tag: string;
  /** The run's own folder; its path contains the tag. */
  folder: string;
  /** Who is judged: a name of cri.ts's `contestants`. */
  against: string;
  /** The OCI runtime. */
  runtime: 'runc' | 'crun';
  critest: string;
  /** Storage folder of the registry with the images. */
  images: string;
  /** For the order of specs; absent: by chance. */
  seed?: string;
  /** A regular expression for the specs to run; absent: all. */
  focus?: string;
  seconds: number;
  /** Folder for all that the suite and the daemon have said. */
  logs: string;
  /** File for the verdict, as JSON. */
  results: string;
}

export interface CriVerdict {
  specs: Test[];
  seconds: number;
  seed: number;
  logPath: string;
  daemonLogPath: string;
  /** Pods that specs have left; the judge has removed them. */
  podsLeft: string[];
  /** What was left behind when all pods were removed and the daemon had ended, a line for each thing. */
  left: string[];
}
