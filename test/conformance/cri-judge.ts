/**
 * Runs critest against a daemon of its own. Started by cri.ts inside mount, network and PID namespaces of its own: bridges, addresses,
 * rules, mounts and processes of the run are nobody else's, and what is left of them afterwards is seen. The host network that specs
 * ask for is that of the run.
 *
 * usage: node cri-judge.ts <plan as JSON>; the verdict goes as JSON to the file that the plan names.
 */
import { execFileSync, spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { GrpcClient } from '../../src/grpc/index.ts';
import { cri } from '../../src/wire/index.ts';
import { leftInFolder } from '../support/berthd-state.ts';
import { takenAddresses, writeBridgeNetwork } from '../support/cni.ts';
import { berthd, containerd } from '../support/cri-daemons.ts';
import { thisMachine } from '../support/mount-namespace.ts';
import { Registry } from '../support/registry.ts';
import type { CriPlan, CriVerdict } from './cri-plan.ts';
import { mountPoints, processes, settle } from './leftovers.ts';
import type { Test } from './results.ts';
import { parseSpecs, type SuiteReport } from './spec-results.ts';
import { mirroredRegistries } from './stand-ins.ts';

const hybridMount = '/sys/fs/cgroup/unified';
const cgroupRoot = '/sys/fs/cgroup';
const bridge = 'conformance0';
const settleSeconds = 15;
const callMilliseconds = 60_000;
const shownLines = 30;

const plan = JSON.parse(process.argv[2] ?? '') as CriPlan;
const path = (...names: string[]) => join(plan.folder, ...names);
const leases = path('leases');

function prepareNamespaces(): void {
  execFileSync('ip', ['link', 'set', 'lo', 'up']);
  // CNI's library keeps results in the second one, where nobody says otherwise.
  for (const folder of ['/run', '/var/lib/cni']) {
    mkdirSync(folder, { recursive: true });
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'mode=755', 'berth-conformance', folder]);
  }
  if (plan.runtime === 'crun' && mountPoints().includes(hybridMount)) {
    execFileSync('umount', [hybridMount]);
    execFileSync('mount', ['-t', 'tmpfs', 'berth-conformance', hybridMount]);
  }
  writeBridgeNetwork({ confDir: path('cni'), leases, bridge });
}

/** Cgroups of sandboxes and containers: their names contain an id. */
function cgroups(folder = cgroupRoot, depth = 6): string[] {
  let names: string[] = [];
  try {
    names = readdirSync(folder, { withFileTypes: true }).flatMap((entry) => (entry.isDirectory() ? [entry.name] : []));
  } catch {
    // gone meanwhile
  }
  return names.flatMap((name) => {
    const below = join(folder, name);
    if (/[0-9a-f]{64}/.test(name)) return [below];
    return depth > 1 ? cgroups(below, depth - 1) : [];
  });
}

/** Network devices besides loopback and the bridge. */
function devices(): string[] {
  const lines = execFileSync('ip', ['-o', 'link'], { encoding: 'utf8' }).split('\n').filter(Boolean);
  return lines.map((line) => line.split(': ')[1] ?? '').filter((name) => name !== 'lo' && name !== bridge);
}

async function runSuite(socket: string, logPath: string): Promise<string | undefined> {
  const log = openSync(logPath, 'w');
  const { seed, focus, critest, seconds } = plan;
  mkdirSync(path('tmp'));
  const args = [
    `-runtime-endpoint=unix://${socket}`,
    `-config=${path('no-crictl.yaml')}`,
    `--ginkgo.json-report=${path('report.json')}`,
    '--ginkgo.no-color',
    `--ginkgo.timeout=${seconds}s`,
    ...(seed === undefined ? [] : [`--ginkgo.seed=${seed}`]),
    ...(focus === undefined ? [] : [`--ginkgo.focus=${focus}`]),
  ];
  const env = { ...process.env, TMPDIR: path('tmp') };
  const child = spawn(critest, args, { cwd: plan.folder, env, stdio: ['ignore', log, log] });
  closeSync(log);
  return await new Promise<string | undefined>((done) => {
    child.once('error', (error) => done(`cannot be run: ${error.message}`));
    child.once('exit', (code, signal) => done(code === 0 ? undefined : `ended with ${signal ?? code ?? ''}`));
  });
}

/** Removes the pods that are there, as a client would; gives their names. */
async function removePods(socket: string): Promise<string[]> {
  const client = new GrpcClient(socket);
  const options = { timeoutMs: callMilliseconds };
  try {
    const { items } = await client.call(cri.RuntimeService, 'ListPodSandbox', {}, options);
    for (const { id } of items) {
      await client.call(cri.RuntimeService, 'StopPodSandbox', { podSandboxId: id }, options);
      await client.call(cri.RuntimeService, 'RemovePodSandbox', { podSandboxId: id }, options);
    }
    return items.map(({ id, metadata }) => `${metadata?.name ?? ''} (${id})`);
  } finally {
    client.close();
  }
}

prepareNamespaces();
mkdirSync(path('d'));
mkdirSync(path('registry'));
await using registry = await Registry.start({ folder: path('registry'), storage: plan.images });
const setup = {
  scratch: { mark: plan.tag, folder: plan.folder },
  place: thisMachine,
  folder: path('d'),
  cniConfDir: path('cni'),
  mirrors: Object.fromEntries(mirroredRegistries.map((name) => [name, registry.address])),
  runtime: plan.runtime,
};
const daemon = plan.against === 'containerd' ? containerd(setup) : berthd(setup);
const mountsBefore = mountPoints();
const cgroupsBefore = cgroups();
const begin = Date.now();
const logPath = join(plan.logs, `critest-${plan.against}.log`);
const daemonLogPath = join(plan.logs, `critest-${plan.against}-daemon.log`);
const problems: string[] = [];
const verdict: CriVerdict = { specs: [], seconds: 0, seed: 0, logPath, daemonLogPath, podsLeft: [], left: [] };

/** Notes how a step failed, and goes on: the next ones tell more. */
async function step(what: string, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    problems.push(`${what}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

await step('start', () => daemon.start());
if (problems.length === 0) {
  const failure = await runSuite(daemon.socket, logPath);
  verdict.seconds = (Date.now() - begin) / 1000;
  await step('report', () => {
    const [report] = JSON.parse(readFileSync(path('report.json'), 'utf8')) as [SuiteReport];
    verdict.seed = report.SuiteConfig.RandomSeed;
    verdict.specs.push(...parseSpecs(report));
    return Promise.resolve();
  });
  if (failure !== undefined && !verdict.specs.some((spec) => spec.outcome === 'failed')) {
    const output = readFileSync(logPath, 'utf8').split('\n').slice(-shownLines);
    verdict.specs.push({
      name: `(the suite's program ${failure})`,
      outcome: 'failed',
      seconds: 0,
      output,
    } satisfies Test);
  }
  await step('removal of pods', async () => void verdict.podsLeft.push(...(await removePods(daemon.socket))));
}
await step('stop', () => daemon.stop());
await registry.close();
const look = () => [
  ...processes().map((one) => one.what),
  ...mountPoints()
    .filter((point) => !mountsBefore.includes(point))
    .map((point) => `mount ${point}`),
  ...cgroups()
    .filter((one) => !cgroupsBefore.includes(one))
    .map((one) => `cgroup ${one}`),
  ...devices().map((name) => `network device ${name}`),
  ...takenAddresses(leases).map((address) => `address ${address}`),
  ...(plan.against === 'berthd' ? leftInFolder(path('d')) : []),
];
verdict.left = [...problems, ...(await settle(look, settleSeconds))];
try {
  renameSync(daemon.logPath, daemonLogPath);
} catch {
  // It never began.
}
// What is left must not be in the way of the folder's removal; it all ends with the namespaces.
for (const { pid } of processes()) process.kill(pid, 'SIGKILL');
for (const point of mountPoints()
  .filter((one) => one.startsWith(plan.folder))
  .reverse())
  execFileSync('umount', ['-l', point]);
rmSync(path('d'), { recursive: true, force: true });
writeFileSync(plan.results, JSON.stringify(verdict));
