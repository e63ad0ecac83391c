import { Code, TtrpcError } from '../ttrpc/index.ts';
import type { ProcessStateName } from './record.ts';

/** The one place that says which state a process can go to from which. */
const transitions: Record<ProcessStateName, readonly ProcessStateName[]> = {
  created: ['running', 'stopped', 'deleted'],
  running: ['stopped'],
  stopped: ['deleted'],
  deleted: [],
};

function canBecome(from: ProcessStateName, to: ProcessStateName): boolean {
  return transitions[from].includes(to);
}

/** @throws TtrpcError FAILED_PRECONDITION naming both states */
export function requireTransition(what: string, from: ProcessStateName, to: ProcessStateName): void {
  if (canBecome(from, to)) return;
  throw new TtrpcError(Code.FailedPrecondition, `${what} is ${from} and cannot become ${to}`);
}

/** @throws TtrpcError FAILED_PRECONDITION */
export function requireState(what: string, action: string, state: string, allowed: readonly string[]): void {
  if (allowed.includes(state)) return;
  throw new TtrpcError(
    Code.FailedPrecondition,
    `cannot ${action} ${what}: it is ${state}, and must be ${allowed.join(' or ')}`,
  );
}
