/**
 * The main job, shown: a private berthd runs a pod with two containers on a CNI bridge, is killed -9 while they write their logs, and
 * started again; nothing is lost. Prints each step as it goes, with the commands that a person would type; exits with 1 if anything
 * does not hold. Everything is in a temporary folder and in mount and network namespaces of its own, and nothing is left behind.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { berth } from '../../src/wire/index.ts';
import { BerthdBed } from '../support/berthd-bed.ts';
import { readLog } from '../support/cri-caller.ts';
import { settled } from '../support/leftovers.ts';
import { statOf } from '../support/process-tree.ts';
import { until } from '../support/until.ts';
import { Narration } from './narration.ts';

const image = 'localhost/busybox:demo';
const exitCode = 42;
/** How long the daemon is dead at least, in milliseconds. */
const deadMs = 2000;
/** How many lines the log must grow by meanwhile, and how long that may take, in milliseconds. */
const moreLines = 20;
const growthMs = 20_000;

const narration = new Narration();
const step = (text: string) => narration.step(text);
const show = (text: string) => narration.show(text);
const check = (what: string, holds: boolean) => narration.check(what, holds);

/** Runs berthctl as a person would, and shows both the command and its answer. */
async function berthctl(bed: BerthdBed, ...args: string[]): Promise<string> {
  show(`$ berthctl ${args.join(' ')}`);
  const { code, stdout, stderr } = await bed.berthctl(...args);
  if (stdout.trim() !== '') show(stdout);
  if (code !== 0) {
    show(stderr);
    check(`berthctl ${args[0] ?? ''} succeeds`, false);
  }
  return stdout.trim();
}

const linesOf = (path: string) => readLog(path).map(({ text }) => text);

/** Ticks of a container that counts: each number once, none missing. */
const countsWithoutAGap = (lines: readonly string[]) => lines.every((line, index) => line === `tick ${index + 1}`);

async function exitsOf(bed: BerthdBed, containerId: string): Promise<bigint[]> {
  const sequences: bigint[] = [];
  const request = { afterSequence: 0n, noFollow: true };
  for await (const event of bed.client.stream(berth.Events, 'Subscribe', request)) {
    if (event.topic === '/tasks/exit' && event.containerId === containerId) sequences.push(event.sequence);
  }
  return sequences;
}

async function main(bed: BerthdBed): Promise<void> {
  step('A berthd of its own, in temporary folders and in a network of its own; an image made from Debian’s busybox');
  await bed.start();
  const archive = await bed.makeImage(image);
  await berthctl(bed, 'version');
  await berthctl(bed, 'load', '-i', archive);
  await berthctl(bed, 'images');

  step('A pod on a CNI bridge, with two containers: one counts for ever, one ends while the daemon is dead');
  const file = (name: string, content: unknown) => {
    writeFileSync(bed.path(name), JSON.stringify(content, null, 2));
    return bed.path(name);
  };
  const podConfig = file('pod.json', {
    metadata: { name: 'demo', namespace: 'default', uid: 'demo-1', attempt: 0 },
    hostname: 'demo',
    labels: { 'io.kubernetes.pod.name': 'demo', 'io.kubernetes.pod.namespace': 'default' },
    log_directory: bed.path('logs'),
    linux: { cgroup_parent: `/${bed.scratch.mark}` },
  });
  const gate = bed.path('gate');
  mkdirSync(gate);
  const containerConfig = (name: string, script: string) =>
    file(`${name}.json`, {
      metadata: { name, attempt: 0 },
      labels: { 'io.kubernetes.pod.name': 'demo', 'io.kubernetes.pod.namespace': 'default' },
      image: { image },
      command: ['sh', '-c', script],
      log_path: `${name}.log`,
      mounts: [{ host_path: gate, container_path: '/gate', readonly: true }],
      linux: { resources: { memory_limit_in_bytes: 64 * 1024 * 1024 } },
    });
  const counting = 'i=0; while :; do i=$((i+1)); echo tick $i; sleep 0.02; done';
  const leaving = `echo started; until [ -e /gate/open ]; do sleep 0.02; done; echo leaving; exit ${exitCode}`;
  const pod = await berthctl(bed, 'runp', podConfig);
  const counter = await berthctl(bed, 'create', pod, containerConfig('counter', counting), podConfig);
  const leaver = await berthctl(bed, 'create', pod, containerConfig('leaver', leaving), podConfig);
  bed.cri.made.add(pod).add(counter).add(leaver);
  await berthctl(bed, 'start', counter, leaver);
  await berthctl(bed, 'pods');
  await berthctl(bed, 'ps');
  const { network } = await bed.cri.pod(pod);
  check(`the pod has an address of the bridge: ${network?.ip ?? ''}`, (network?.ip ?? '') !== '');

  step('Logs, statistics, and a command in a container');
  await until('some ticks', async () => (await bed.cri.log(counter)).length > 5);
  await berthctl(bed, 'logs', '--tail', '3', counter);
  await berthctl(bed, 'stats', counter);
  const address = await berthctl(bed, 'exec', '-s', counter, 'hostname', '-i');
  check('the container sees the address of its pod', address === network?.ip);
  const pid = await pidOf(bed, counter);

  step('kill -9: the daemon dies while the containers write their logs');
  const log = (await bed.cri.container(counter)).logPath;
  const leaverLog = (await bed.cri.container(leaver)).logPath;
  await bed.kill9();
  const died = performance.now();
  const before = linesOf(log).length;
  writeFileSync(join(gate, 'open'), '');
  await sleep(deadMs);
  const hasGrown = () => linesOf(log).length > before + moreLines;
  const wentOn = await until('more lines', hasGrown, growthMs).catch(() => false);
  const deadSeconds = ((performance.now() - died) / 1000).toFixed(1);
  check('the daemon is gone', bed.daemon.pid === undefined);
  check(
    `the log went on without it: ${before} lines when it died, ${linesOf(log).length} after ${deadSeconds} s`,
    wentOn,
  );
  check('no line is missing and none is there twice', countsWithoutAGap(linesOf(log)));
  await until('the other container to end', () => linesOf(leaverLog).includes('leaving'));
  show('meanwhile the other container has ended, with nobody there to be told');

  step('The daemon is started again');
  const began = performance.now();
  await bed.start();
  show(`it serves ${Math.round(performance.now() - began)} ms after its start`);
  await berthctl(bed, 'ps', '-a');
  const status = await bed.cri.exited(leaver);
  check(`the exit that happened meanwhile is known: exit code ${status.exitCode}`, status.exitCode === exitCode);
  check('the counting container is the same process as before', (await pidOf(bed, counter)) === pid);
  check('and runs', statOf(pid) !== undefined);
  check('its log has no gap still', countsWithoutAGap(linesOf(log)));
  await berthctl(bed, 'events', '--after', '0', '--no-follow');
  check('the exit was delivered once', (await exitsOf(bed, leaver)).length === 1);
  await bed.stop();
  await bed.start();
  check('and only once, also after another restart', (await exitsOf(bed, leaver)).length === 1);

  step('Everything is stopped and removed');
  await berthctl(bed, 'stop', '-t', '1', counter);
  await berthctl(bed, 'stopp', pod);
  await berthctl(bed, 'rmp', pod);
  await berthctl(bed, 'ps', '-a');
  await bed.stop();
  const left = await settled(() => bed.leftovers());
  for (const line of left) show(line);
  check('nothing is left: no process, mount, cgroup, network device or address, socket or file', left.length === 0);
}

async function pidOf(bed: BerthdBed, containerId: string): Promise<number> {
  const { info } = await bed.cri.runtime('ContainerStatus', { containerId, verbose: true });
  return (JSON.parse(info['info'] ?? '{}') as { pid: number }).pid;
}

{
  await using bed = await BerthdBed.open(undefined, { started: false });
  try {
    await main(bed);
  } catch (error) {
    check(`nothing unexpected happens: ${error instanceof Error ? error.message : String(error)}`, false);
    show(readFileSync(bed.daemon.logPath, 'utf8').split('\n').slice(-30).join('\n'));
  }
}
process.exitCode = narration.end();
