import { spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

/**
 * Runs a judge in mount, network and PID namespaces of its own.
 * @param plan for its only argument, as JSON
 * @param results the file where it puts its verdict, as JSON
 */
export async function judgeApart(judge: string, plan: object, results: string): Promise<unknown> {
  // The shell is there to collect orphans as the first process of the namespace.
  const namespaces = ['--mount', '--net', '--pid', '--fork', '--kill-child', '--mount-proc'];
  const init = ['sh', '-c', '"$@"; exit $?', 'sh'];
  const program = [process.execPath, join(import.meta.dirname, judge), JSON.stringify(plan)];
  const child = spawn('unshare', [...namespaces, ...init, ...program], { stdio: 'inherit' });
  const code = await new Promise<number | null>((done, failed) => child.once('error', failed).once('exit', done));
  const text = await readFile(results, 'utf8').catch(() => undefined);
  if (code !== 0 || text === undefined) throw new Error(`${judge} ended with ${code ?? 'a signal'}`);
  return JSON.parse(text) as unknown;
}
