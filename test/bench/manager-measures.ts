import { setTimeout as sleep } from 'node:timers/promises';
import { until } from '../support/until.ts';
import type { Ground } from './manager-ground.ts';
import type { Metric, Results } from './result.ts';

const execsPerLife = 3;
const crowdPods = 50;
const callers = 10;
const listedContainers = 200;
const lists = 30;
const restarts = 2;
const idleSeconds = 15;
const megabyte = 1e6;

const milliseconds = (id: string, title: string, means: string): Metric => ({
  id,
  title,
  unit: 'ms',
  better: 'lower',
  means,
});

export const lifeMetrics = {
  runPod: milliseconds('run-pod', 'RunPodSandbox', 'on the bridge, with an address of host-local'),
  create: milliseconds('create-container', 'CreateContainer', 'of an image that is there, with a log'),
  start: milliseconds('start-container', 'StartContainer', "with the OCI runtime's work in it, wherever it is done"),
  exec: milliseconds('exec-sync', 'ExecSync', '`true` in a running container'),
  stop: milliseconds('stop-container', 'StopContainer', 'of a shell that ends at once on SIGTERM'),
  stopPod: milliseconds('stop-pod', 'StopPodSandbox', 'with its container stopped, and its address given back'),
  removePod: milliseconds('remove-pod', 'RemovePodSandbox', 'with its container, which has ended'),
} as const;

export const crowdMetrics = {
  rate: {
    id: 'pods-a-second',
    title: `pods a second, ${callers} callers`,
    unit: 'pods/s',
    better: 'higher',
    means: `${crowdPods} pods, each with a container that runs: RunPodSandbox, CreateContainer and StartContainer`,
  },
  daemonMemory: {
    id: 'daemon-memory',
    title: `private memory of the daemon, ${crowdPods} pods`,
    unit: 'MB',
    better: 'lower',
    means: `Private_Clean and Private_Dirty of smaps_rollup, ${idleSeconds} s after the last call; shims that wait for the next pod are counted in`,
  },
  podMemory: {
    id: 'pod-memory',
    title: 'private memory of a pod, besides its container',
    unit: 'MB',
    better: 'lower',
    means: `the same moment: all processes of a pod but its container's (the shim, and what holds its namespaces), the mean of ${crowdPods}`,
  },
  restart: milliseconds(
    'restart',
    `restart with ${crowdPods} pods`,
    `the daemon is killed with SIGKILL after ${idleSeconds} s without a call, and started again: from then until Version and ListPodSandbox, with all pods in it, are answered`,
  ),
  list: milliseconds(
    'list-containers',
    `ListContainers of ${listedContainers}`,
    `${crowdPods} pods with ${listedContainers / crowdPods} containers each`,
  ),
  removal: {
    id: 'pods-removed-a-second',
    title: `pods removed a second, ${callers} callers`,
    unit: 'pods/s',
    better: 'higher',
    means: 'StopPodSandbox, with the containers still running, and RemovePodSandbox',
  },
} as const satisfies Record<string, Metric>;

export const pullMetrics = {
  pull: milliseconds(
    'pull',
    'PullImage, 8 layers of 25 MB',
    'from a registry on loopback; half of the bytes can be compressed; none of it is there before',
  ),
} as const;

/** A shell that a SIGTERM ends at once. */
const waiting = ['sh', '-c', 'trap "exit 0" TERM; while :; do sleep 3600 & wait; done'];

/** Times some work. */
async function timed<T>(add: (elapsed: number) => void, work: () => Promise<T>): Promise<T> {
  const began = performance.now();
  const done = await work();
  add(performance.now() - began);
  return done;
}

let lives = 0;

/** @param results undefined for a life that is not counted: it warms caches */
export async function measureLife(ground: Ground, results?: Results): Promise<void> {
  const { cri, name } = ground;
  const adding = (metric: Metric) => (elapsed: number) => results?.add(metric, name, elapsed);
  const life = `life-${++lives}`;
  const { runPod, create, start, exec, stop, stopPod, removePod } = lifeMetrics;
  const pod = await timed(adding(runPod), () => cri.runPod(life));
  const container = await timed(adding(create), () => cri.createContainer(pod, 'one', waiting));
  await timed(adding(start), () => cri.startContainer(container));
  for (let n = 0; n < execsPerLife; n++) await timed(adding(exec), () => cri.exec(container, ['true']));
  await timed(adding(stop), () => cri.stopContainer(container, 10));
  await timed(adding(stopPod), () => cri.stopPod(pod));
  await timed(adding(removePod), () => cri.runtime('RemovePodSandbox', { podSandboxId: pod }));
}

/** Does the work for each item, so many at a time; gives the milliseconds that all of it took. */
async function together<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<number> {
  const began = performance.now();
  const left = [...items];
  const caller = async () => {
    for (let item = left.shift(); item !== undefined; item = left.shift()) await work(item);
  };
  await Promise.all(Array.from({ length: callers }, caller));
  return performance.now() - began;
}

let crowds = 0;

/** Many pods at once: how fast they come and go, what they cost while nothing happens, and a restart among them. */
export async function measureCrowd(ground: Ground, results: Results): Promise<void> {
  const { cri, name } = ground;
  const crowd = `crowd-${++crowds}`;
  const pods: string[] = [];
  const arrival = await together(
    Array.from({ length: crowdPods }, (_, n) => `${crowd}-${n}`),
    async (pod) => {
      const id = await cri.runPod(pod);
      pods.push(id);
      await cri.runContainer(id, 'one', waiting);
    },
  );
  results.add(crowdMetrics.rate, name, (crowdPods * 1000) / arrival);

  await sleep(idleSeconds * 1000);
  const memory = ground.memory(pods);
  results.add(crowdMetrics.daemonMemory, name, memory.daemon / megabyte);
  results.add(crowdMetrics.podMemory, name, memory.pods / crowdPods / megabyte);

  for (let n = 0; n < restarts; n++) {
    if (n > 0) await sleep(idleSeconds * 1000); // a restart wakes shims that sleep; the next one is to find them asleep again
    results.add(crowdMetrics.restart, name, await timeRestart(ground));
  }

  await together(pods, async (pod) => {
    for (let n = 1; n < listedContainers / crowdPods; n++) await cri.createContainer(pod, `more-${n}`, waiting);
  });
  for (let n = 0; n < lists; n++) {
    const { containers } = await timed(
      (elapsed) => results.add(crowdMetrics.list, name, elapsed),
      () => cri.runtime('ListContainers', {}),
    );
    if (containers.length !== listedContainers) throw new Error(`${name} lists ${containers.length} containers`);
  }

  const departure = await together(pods, (pod) => cri.removePod(pod));
  results.add(crowdMetrics.removal, name, (crowdPods * 1000) / departure);
}

async function timeRestart(ground: Ground): Promise<number> {
  await ground.daemon.kill9();
  const began = performance.now();
  ground.launchAgain();
  await ground.daemon.whenServing();
  await until('all pods', async () => (await ground.cri.runtime('ListPodSandbox', {})).items.length === crowdPods);
  return performance.now() - began;
}

/** @param reference of an image that is not there */
export async function measurePull(ground: Ground, reference: string, results?: Results): Promise<void> {
  const { cri, name } = ground;
  const image = { image: reference };
  await timed(
    (elapsed) => results?.add(pullMetrics.pull, name, elapsed),
    () => cri.images('PullImage', { image }, { timeoutMs: 300_000 }),
  );
  await cri.images('RemoveImage', { image });
}
