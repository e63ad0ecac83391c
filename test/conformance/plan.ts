import type { Test } from './results.ts';

/** What main.ts has judge.ts do. */
export interface Plan {
  /** Unique to the run; lower case. */
  tag: string;
  /** The OCI runtime. */
  runtime: string;
  /** Absolute path of the shim. */
  shim: string;
  suites: string[];
  /** How long each of the stress tests runs; 0: none does. */
  stressSeconds: number;
  /** Time limit of one suite. */
  suiteSeconds: number;
  programs: Programs;
  /** The run's own folder; its path contains the tag. */
  folder: string;
  /** Folder for the suites' whole output. */
  logs: string;
  /** File for the verdict, as JSON. */
  results: string;
}

export interface Programs {
  /** The suite itself. */
  program: string;
  /** What it puts into its containers. */
  guestProgram: string;
}

export interface JudgedSuite {
  suite: string;
  tests: Test[];
  seconds: number;
  logPath: string;
}

export interface Verdict {
  judged: JudgedSuite[];
  /** What the run has left behind, a line for each thing. */
  left: string[];
}
