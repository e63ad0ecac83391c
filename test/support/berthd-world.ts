import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { berth, cri, events, type protobuf, unpackAny } from '../../src/wire/index.ts';
import { type BerthdBed } from './berthd-bed.ts';
import type { Random } from '../unit/ttrpc/random.ts';
import { until } from './until.ts';

const { CONTAINER_CREATED, CONTAINER_RUNNING, CONTAINER_EXITED } = cri.ContainerState;

/** Goes on until it is told to end, and then says so by its exit code. */
const obedient = ['sh', '-c', 'trap "exit 7" TERM; echo up; while :; do sleep 0.05; done'];

/** How long a call takes, about, in milliseconds: the daemon is killed at a moment in that time, or just after. */
const usualMs = { run: 160, create: 40, start: 80, stop: 80, removePod: 220, removeContainer: 80, pull: 500 } as const;

export type Step = keyof typeof usualMs;

export const steps = Object.keys(usualMs) as Step[];

/**
 * A daemon that is killed again and again in the middle of calls, and what must be true of it each time that it is back: what was
 * acknowledged is as it was, and what was cut off is either done or not, and can be done.
 */
export class BerthdWorld {
  kills = 0;
  readonly #bed: BerthdBed;
  readonly #random: Random;
  readonly #image: string;
  #names = 0;
  /** A pod with a container that runs, and that nothing is done to: it must not notice anything. */
  #witness: { pod: string; container: string; pid: number } | undefined;

  /** @param image a reference that can be pulled */
  constructor(bed: BerthdBed, random: Random, image: string) {
    this.#bed = bed;
    this.#random = random;
    this.#image = image;
  }

  async begin(): Promise<void> {
    const pod = await this.#bed.cri.runPod('witness');
    const container = await this.#bed.cri.runContainer(pod, 'main', obedient);
    this.#witness = { pod, container, pid: await this.#pidOf(container) };
  }

  /** Makes what the step needs, begins it, kills the daemon in the middle of it, starts it again, and looks. */
  async round(step: Step): Promise<void> {
    await this[step]();
    await this.#askWitness();
  }

  async run(): Promise<void> {
    const name = this.#name();
    const pod = await this.#cutOff('run', () => this.#bed.cri.runPod(name));
    const { items } = await this.#bed.cri.runtime('ListPodSandbox', {});
    const found = items.filter(({ metadata }) => metadata?.name === name);
    assert.ok(found.length <= 1, `there are ${found.length} pods ${name}`);
    if (pod !== undefined) assert.equal(found[0]?.id, pod, 'a pod that was acknowledged is there');
    // Whoever has had no answer asks again, and may be told that it is there.
    const id = found[0]?.id ?? (await this.#bed.cri.runPod(name));
    this.#bed.cri.made.add(id);
    const status = await this.#bed.cri.pod(id);
    assert.equal(status.state, cri.PodSandboxState.SANDBOX_READY);
    assert.match(status.network?.ip ?? '', /^\d+\./);
    await this.#bed.cri.removePod(id);
  }

  async create(): Promise<void> {
    const { pod } = this.#witnessed;
    const name = this.#name();
    const acknowledged = await this.#cutOff('create', () => this.#bed.cri.createContainer(pod, name, obedient));
    const { containers } = await this.#bed.cri.runtime('ListContainers', {});
    const found = containers.filter(({ metadata }) => metadata?.name === name);
    assert.ok(found.length <= 1, `there are ${found.length} containers ${name}`);
    if (acknowledged !== undefined)
      assert.equal(found[0]?.id, acknowledged, 'a container that was acknowledged is there');
    const id = found[0]?.id ?? (await this.#bed.cri.createContainer(pod, name, obedient));
    this.#bed.cri.made.add(id);
    assert.equal((await this.#bed.cri.container(id)).state, CONTAINER_CREATED);
    await this.#bed.cri.removeContainer(id);
  }

  async start(): Promise<void> {
    const id = await this.#bed.cri.createContainer(this.#witnessed.pod, this.#name(), obedient);
    const acknowledged = await this.#cutOff('start', () => this.#bed.cri.startContainer(id).then(() => true));
    const { state } = await this.#bed.cri.container(id);
    if (acknowledged === true) assert.equal(state, CONTAINER_RUNNING, 'a container that was started runs');
    if (state === CONTAINER_CREATED) await this.#bed.cri.startContainer(id);
    else assert.equal(state, CONTAINER_RUNNING, 'a start that was cut off has happened or not');
    assert.equal((await this.#bed.cri.container(id)).state, CONTAINER_RUNNING);
    await this.#outputs(id);
    await this.#bed.cri.stopContainer(id, 5);
    assert.equal((await this.#bed.cri.container(id)).exitCode, 7);
    await this.#bed.cri.removeContainer(id);
  }

  async stop(): Promise<void> {
    const id = await this.#bed.cri.runContainer(this.#witnessed.pod, this.#name(), obedient);
    await this.#outputs(id);
    const acknowledged = await this.#cutOff('stop', () => this.#bed.cri.stopContainer(id, 5).then(() => true));
    if (acknowledged === true) assert.equal((await this.#bed.cri.container(id)).state, CONTAINER_EXITED);
    // Cut off before the daemon had it, or taken up again: asking once more ends it in any case, and by the same stop.
    await this.#bed.cri.stopContainer(id, 5);
    const { state, exitCode } = await this.#bed.cri.container(id);
    assert.deepEqual([state, exitCode], [CONTAINER_EXITED, 7]);
    await this.#bed.cri.removeContainer(id);
  }

  async removeContainer(): Promise<void> {
    const id = await this.#bed.cri.runContainer(this.#witnessed.pod, this.#name(), obedient);
    await this.#cutOff('removeContainer', () => this.#bed.cri.removeContainer(id));
    await this.#bed.cri.removeContainer(id);
    const { containers } = await this.#bed.cri.runtime('ListContainers', { filter: { id } });
    assert.deepEqual(containers, []);
  }

  async removePod(): Promise<void> {
    const id = await this.#bed.cri.runPod(this.#name());
    await this.#bed.cri.runContainer(id, 'main', obedient);
    await this.#cutOff('removePod', () => this.#bed.cri.removePod(id));
    await this.#bed.cri.removePod(id);
    const { items } = await this.#bed.cri.runtime('ListPodSandbox', { filter: { id } });
    assert.deepEqual(items, []);
  }

  async pull(): Promise<void> {
    const image = { image: this.#image };
    await this.#cutOff('pull', () => this.#bed.cri.images('PullImage', { image }));
    await this.#bed.cri.images('PullImage', { image });
    const id = await this.#bed.cri.runContainer(this.#witnessed.pod, this.#name(), ['true'], { image });
    assert.equal((await this.#bed.cri.exited(id)).exitCode, 0);
    await this.#bed.cri.removeContainer(id);
    await this.#bed.cri.images('RemoveImage', { image });
  }

  /** The journal has each container's life once, in order, whatever was killed. Call it when all containers but the witness are gone. */
  async assertJournal(): Promise<void> {
    const lives = new Map<string, string[]>();
    let last = 0n;
    const request = { afterSequence: 0n, noFollow: true };
    for await (const { sequence, topic, containerId, event } of this.#bed.client.stream(
      berth.Events,
      'Subscribe',
      request,
    )) {
      assert.equal(sequence, last + 1n, 'no number is missing or comes twice');
      last = sequence;
      assert.ok(event);
      if (isOfExec(topic, containerId, event)) continue;
      lives.set(containerId, [...(lives.get(containerId) ?? []), topic.replace('/tasks/', '')]);
    }
    for (const [id, life] of lives) {
      const text = life.join(' ');
      const whole =
        id === this.#witness?.container
          ? /^create start$/
          : /^(create (start )?exit delete ?)+$|^(create (start )?delete ?)+/;
      assert.match(text, whole, `the life of ${id}`);
    }
  }

  get #witnessed(): { pod: string; container: string; pid: number } {
    assert.ok(this.#witness);
    return this.#witness;
  }

  #name(): string {
    return `n${++this.#names}`;
  }

  async #cutOff<T>(step: Step, call: () => Promise<T>): Promise<T | undefined> {
    const calling = call().catch(() => undefined);
    await sleep(this.#random.below(usualMs[step]));
    await this.#bed.kill9();
    this.kills++;
    const answer = await calling;
    await this.#bed.start();
    return answer;
  }

  async #askWitness(): Promise<void> {
    const { pod, container, pid } = this.#witnessed;
    assert.equal((await this.#bed.cri.pod(pod)).state, cri.PodSandboxState.SANDBOX_READY);
    assert.equal((await this.#bed.cri.container(container)).state, CONTAINER_RUNNING);
    assert.equal(await this.#pidOf(container), pid, 'the container that nobody touched is the same');
  }

  async #pidOf(containerId: string): Promise<number> {
    const { info } = await this.#bed.cri.runtime('ContainerStatus', { containerId, verbose: true });
    return (JSON.parse(info['info'] ?? '{}') as { pid: number }).pid;
  }

  /** Waits until it has set its trap. */
  async #outputs(id: string): Promise<void> {
    await until(`output of ${id}`, async () => (await this.#bed.cri.output(id)) !== '');
  }
}

function isOfExec(topic: string, containerId: string, event: protobuf.Any): boolean {
  if (topic.startsWith('/tasks/exec')) return true;
  if (topic !== '/tasks/exit') return false;
  return unpackAny(events.TaskExit, event).id !== containerId;
}
