import assert from 'node:assert/strict';
import { appendFileSync, existsSync, readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Code, RpcError } from '../../../src/grpc/index.ts';
import { cri } from '../../../src/wire/index.ts';
import { type Fake, type FakeHandlers, startFake, sandboxId, webId } from './fake-server.ts';
import { berthctl, spawnBerthctl } from './run-cli.ts';

const time = '2026-11-21T10:00:00.000000000Z';

/** A server on which one container can be run: it writes, and ends by itself or when it is stopped. */
class Machine {
  readonly fake: Fake;
  #log = '';
  #state: cri.ContainerState = cri.ContainerState.CONTAINER_CREATED;
  #exitCode = 0;

  private constructor(fake: Fake) {
    this.fake = fake;
  }

  static async start(
    t: TestContext,
    life: (machine: Machine) => Promise<void>,
    more: FakeHandlers['runtime'] = {},
  ): Promise<Machine> {
    const box: { machine?: Machine } = {};
    const self = () => box.machine as Machine;
    const fake = await startFake({
      runtime: {
        RunPodSandbox: ({ config }) => {
          self().#log = join(config?.logDirectory ?? '', '0.log');
          assert.ok(existsSync(config?.logDirectory ?? ''));
          return { podSandboxId: sandboxId };
        },
        CreateContainer: () => ({ containerId: webId }),
        StartContainer: () => {
          self().#state = cri.ContainerState.CONTAINER_RUNNING;
          void life(self());
          return {};
        },
        ContainerStatus: () => ({ status: self().status }),
        StopContainer: ({ timeout }) => {
          self().write(`stopped with ${timeout}`);
          self().end(143);
          return {};
        },
        StopPodSandbox: () => ({}),
        RemovePodSandbox: () => ({}),
        ...more,
      },
      images: { PullImage: () => ({ imageRef: 'x' }) },
    });
    t.after(() => fake.close());
    box.machine = new Machine(fake);
    return box.machine;
  }

  get status() {
    return { id: webId, state: this.#state, exitCode: this.#exitCode, logPath: this.#log };
  }

  get logFolder(): string {
    return join(this.#log, '..');
  }

  write(text: string, stream = 'stdout'): void {
    appendFileSync(this.#log, `${time} ${stream} F ${text}\n`);
  }

  end(exitCode: number): void {
    this.#exitCode = exitCode;
    this.#state = cri.ContainerState.CONTAINER_EXITED;
  }
}

describe('berthctl run with an image', () => {
  it('shows what the command writes, exits with its exit code, and leaves nothing with --rm', async (t) => {
    const machine = await Machine.start(t, async (self) => {
      self.write('hello');
      await sleep(250);
      self.write('trouble', 'stderr');
      self.end(7);
    });
    const { ended } = spawnBerthctl(machine.fake.socket, [
      'run',
      '--rm',
      '-e',
      'A=b',
      '-v',
      '/srv:/data:ro',
      '-p',
      '8080:80',
      'busybox',
      'sh',
      '-c',
      'x',
      '--rm',
    ]);
    assert.deepEqual(await ended, { code: 7, stdout: 'hello\n', stderr: 'trouble\n' });
    const { config, sandboxConfig } = machine.fake.requests['CreateContainer'] as cri.CreateContainerRequest;
    assert.deepEqual(config?.args, ['sh', '-c', 'x', '--rm']);
    assert.equal(config.envs[0]?.key, 'A');
    assert.deepEqual(
      [config.mounts[0]?.hostPath, config.mounts[0]?.containerPath, config.mounts[0]?.readonly],
      ['/srv', '/data', true],
    );
    assert.deepEqual(
      [sandboxConfig?.portMappings[0]?.hostPort, sandboxConfig?.portMappings[0]?.containerPort],
      [8080, 80],
    );
    assert.deepEqual(machine.fake.calls.slice(-2), ['StopPodSandbox', 'RemovePodSandbox']);
    assert.ok(!machine.fake.calls.includes('PullImage'));
    assert.ok(!existsSync(machine.logFolder));
  });

  it('pulls an image that is not there', async (t) => {
    const machine = await Machine.start(t, async (self) => {
      await Promise.resolve();
      self.end(0);
    });
    const { code, stderr } = await berthctl(machine.fake.socket, ['run', '--rm', 'other']);
    assert.equal(code, 0);
    assert.match(stderr, /Pulling other/);
    assert.ok(machine.fake.calls.includes('PullImage'));
  });

  it('hands Ctrl-C on as a stop, and still shows the end', async (t) => {
    const machine = await Machine.start(t, async (self) => {
      self.write('up');
      await Promise.resolve();
    });
    const { child, ended } = spawnBerthctl(machine.fake.socket, [
      'run',
      '--rm',
      '--stop-timeout',
      '5',
      '--net',
      'host',
      'busybox',
    ]);
    await new Promise((resolve) => child.stdout?.once('data', resolve));
    child.kill('SIGINT');
    assert.deepEqual(await ended, { code: 143, stdout: 'up\nstopped with 5\n', stderr: '' });
    const { config } = machine.fake.requests['RunPodSandbox'] as cri.RunPodSandboxRequest;
    assert.equal(config?.linux?.securityContext?.namespaceOptions?.network, cri.NamespaceMode.NODE);
    assert.ok(machine.fake.calls.includes('RemovePodSandbox'));
  });

  it('stops the container when nobody reads its output any more', async (t) => {
    const machine = await Machine.start(t, async (self) => {
      for (let i = 0; i < 40 && existsSync(self.logFolder); i++) {
        self.write('x'.repeat(1000));
        await sleep(25);
      }
    });
    const { child, ended } = spawnBerthctl(machine.fake.socket, ['run', '--rm', 'busybox']);
    await new Promise((resolve) => child.stdout?.once('data', resolve));
    child.stdout?.destroy();
    assert.equal((await ended).code, 143);
    assert.ok(machine.fake.calls.includes('RemovePodSandbox'));
  });

  for (const [message, expected] of [
    ['exec: "nonsense": executable file not found in $PATH', 127],
    ['exec /etc/passwd: permission denied', 126],
    ['the shim is gone', 125],
  ] as const) {
    it(`exits with ${expected} when starting fails with "${message}", and removes the pod`, async (t) => {
      const StartContainer = () => {
        throw new RpcError(Code.Unknown, message);
      };
      const before = readdirSync(tmpdir()).filter((name) => name.startsWith('berthctl-run-'));
      const machine = await Machine.start(t, () => Promise.resolve(), { StartContainer });
      const { code, stderr } = await berthctl(machine.fake.socket, ['run', '--rm', 'busybox', 'nonsense']);
      assert.equal(code, expected);
      assert.ok(stderr.startsWith(`berthctl: cannot run busybox: ${message}`), stderr);
      assert.ok(machine.fake.calls.includes('RemovePodSandbox'));
      assert.deepEqual(
        readdirSync(tmpdir()).filter((name) => name.startsWith('berthctl-run-')),
        before,
      );
    });
  }

  it('goes on when the daemon was away for a while', async (t) => {
    let away = 0;
    const machine: Machine = await Machine.start(
      t,
      async (self) => {
        self.write('before');
        away = 5;
        await sleep(500);
        self.write('after');
        self.end(0);
      },
      {
        ContainerStatus: () => {
          if (away-- > 0) throw new RpcError(Code.Unavailable, 'connection lost');
          return { status: machine.status };
        },
      },
    );
    const { code, stdout } = await berthctl(machine.fake.socket, ['run', '--rm', 'busybox']);
    assert.deepEqual([code, stdout], [0, 'before\nafter\n']);
  });

  it('refuses what it does not understand before it makes anything', async () => {
    for (const args of [
      ['-v', 'data:/x', 'a'],
      ['-p', '80', 'a'],
      ['--net', 'none', 'a'],
      ['--name', '../x', 'a'],
      ['--user', 'a:b', 'a'],
      ['-d', '--rm', 'a'],
      [],
    ]) {
      assert.equal((await berthctl('/nowhere', ['run', ...args])).code, 2, args.join(' '));
    }
    assert.equal((await berthctl('/run/no-such.sock', ['run', 'busybox'])).code, 125);
  });
});
