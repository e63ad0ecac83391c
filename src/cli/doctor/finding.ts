/** What one check of `doctor` has found. */
export interface Finding {
  readonly what: string;
  /** 'warning': containers run, and something is missing. 'failure': they do not. */
  readonly verdict: 'ok' | 'warning' | 'failure';
  /** One sentence. */
  readonly says: string;
  /** The command that mends it. */
  readonly mend?: string;
}

export const ok = (what: string, says: string): Finding => ({ what, verdict: 'ok', says });
export const warning = (what: string, says: string, mend?: string): Finding => ({
  what,
  verdict: 'warning',
  says,
  ...(mend !== undefined && { mend }),
});
export const failure = (what: string, says: string, mend?: string): Finding => ({
  what,
  verdict: 'failure',
  says,
  ...(mend !== undefined && { mend }),
});
