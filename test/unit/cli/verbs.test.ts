import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { describe, it } from 'node:test';
import { Code, RpcError } from '../../../src/grpc/index.ts';
import { berth, cri, events, packAny } from '../../../src/wire/index.ts';
import {
  type FakeHandlers,
  startFake,
  standardState,
  webId,
  type Fake,
  oldId,
  sandboxId,
  imageId,
} from './fake-server.ts';
import { berthctl } from './run-cli.ts';

async function withFake(handlers: FakeHandlers, test: (fake: Fake) => Promise<void>, state = standardState()) {
  const fake = await startFake(handlers, state);
  try {
    await test(fake);
  } finally {
    fake.close();
  }
}

describe('berthctl', () => {
  it('inspects with sorted keys, dates, and what the runtime adds', async () => {
    await withFake({}, async ({ socket }) => {
      const { stdout } = await berthctl(socket, ['inspect', '1f73']);
      const answer = JSON.parse(stdout) as Record<string, Record<string, unknown>>;
      assert.deepEqual(Object.keys(answer), ['pid', 'runtimeSpec', 'status']);
      assert.deepEqual(answer['runtimeSpec'], { ociVersion: '1.0.2' });
      const { status = {} } = answer;
      assert.equal(status['state'], 'CONTAINER_RUNNING');
      assert.match(String(status['createdAt']), /^\d{4}-\d\d-\d\dT/);
      assert.equal(status['finishedAt'], '0001-01-01T00:00:00Z');
      assert.deepEqual(Object.keys(status), Object.keys(status).toSorted());
    });
  });

  it('takes a name or the beginning of an id, and says which ones it can be', async () => {
    await withFake({}, async ({ socket }) => {
      const template = ['-o', 'go-template', '--template', '{{.status.metadata.name}}'];
      assert.equal((await berthctl(socket, ['inspect', ...template, 'old'])).stdout, 'old\n');
      const several = await berthctl(socket, ['inspect', '1f']);
      assert.equal(several.code, 1);
      assert.match(several.stderr, /"1f" can be any of 2 containers: 1f73f2d81bf98 \(web\), 1f9c04ee2f9d1 \(old\)/);
      const none = await berthctl(socket, ['inspect', 'abc']);
      assert.equal(none.code, 3);
      assert.match(none.stderr, /there is no container whose id begins with "abc".*\n {2}berthctl ps -a lists them/);
    });
  });

  it('shows a pod as a paragraph', async () => {
    await withFake({}, async ({ socket }) => {
      assert.match(
        (await berthctl(socket, ['inspectp', '-o', 'table', '87d3'])).stdout,
        /Status: SANDBOX_READY\n.*\nIP Addresses: 10\.88\.0\.7\n/,
      );
    });
  });

  it('does not remove what runs, unless it is forced to; then it stops it first', async () => {
    await withFake({}, async ({ socket, calls }) => {
      const refused = await berthctl(socket, ['rm', '1f73']);
      assert.equal(refused.code, 1);
      assert.match(refused.stderr, /cannot remove the container 1f73: it runs\n {2}berthctl stop 1f73/);
      assert.ok(!calls.includes('RemoveContainer'));
      assert.equal((await berthctl(socket, ['rm', '-f', '1f73'])).stdout, '1f73\n');
      assert.deepEqual(calls.slice(-2), ['StopContainer', 'RemoveContainer']);
    });
  });

  it('removes the log of a container with it', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'bc-'));
    const logPath = join(folder, '0.log');
    for (const name of ['0.log', '0.log.1', '1.log']) writeFileSync(join(folder, name), '');
    const ContainerStatus = () => ({ status: { id: oldId, state: cri.ContainerState.CONTAINER_EXITED, logPath } });
    await withFake({ runtime: { ContainerStatus } }, async ({ socket }) => {
      assert.equal((await berthctl(socket, ['rm', oldId])).code, 0);
    });
    assert.deepEqual(
      ['0.log', '0.log.1', '1.log'].map((name) => existsSync(join(folder, name))),
      [false, false, true],
    );
    rmSync(folder, { recursive: true });
  });

  it('goes on with the others when one of several fails, and tells every failure', async () => {
    await withFake({}, async ({ socket }) => {
      const { code, stdout, stderr } = await berthctl(socket, ['stop', 'nothing', '1f73', 'nobody']);
      assert.equal(code, 3);
      assert.equal(stdout, '1f73\n');
      assert.match(stderr, /"nothing"/);
      assert.match(stderr, /"nobody"/);
    });
  });

  it('gives a stopped container the time that -t says', async () => {
    await withFake({}, async ({ socket, requests }) => {
      await berthctl(socket, ['stop', '-t', '7', '1f73']);
      assert.equal((requests['StopContainer'] as cri.StopContainerRequest).timeout, 7n);
    });
  });

  it('exits with the exit code of a command that exec has run', async () => {
    const ExecSync = () => ({ stdout: Buffer.from('out\n'), stderr: Buffer.from('err\n'), exitCode: 42 });
    await withFake({ runtime: { ExecSync } }, async ({ socket, requests }) => {
      const { code, stdout, stderr } = await berthctl(socket, [
        'exec',
        '-s',
        '--timeout',
        '5',
        '1f73',
        'ls',
        '-l',
        '--all',
      ]);
      assert.deepEqual({ code, stdout, stderr }, { code: 42, stdout: 'out\n', stderr: 'err\n' });
      const request = requests['ExecSync'] as cri.ExecSyncRequest;
      assert.deepEqual([request.containerId, request.cmd, request.timeout], [webId, ['ls', '-l', '--all'], 5n]);
    });
  });

  it('says what this version cannot do, and exits with 5', async () => {
    for (const args of [
      ['exec', 'x', 'ls'],
      ['attach', 'x'],
      ['port-forward', 'x', '80'],
      ['run', '-it', 'busybox'],
    ]) {
      const { code, stderr } = await berthctl('/nowhere', args);
      assert.equal(code, 5, args.join(' '));
      assert.match(stderr, /not in this version/);
    }
  });

  it('says that nobody answers and what to do, and exits with 4', async () => {
    const { code, stderr } = await berthctl('/run/no-such.sock', ['ps']);
    assert.equal(code, 4);
    assert.match(stderr, /^berthctl: cannot list containers: there is no socket \/run\/no-such\.sock/);
    assert.match(stderr, /systemctl start berthd/);
  });

  it('gives up after --timeout', async () => {
    const Version = () => new Promise<never>(() => undefined);
    await withFake({ runtime: { Version } }, async ({ socket }) => {
      const { code, stderr } = await berthctl(socket, ['-t', '100ms', 'version']);
      assert.equal(code, 4);
      assert.match(stderr, /no answer in time/);
    });
  });

  it('reads the configuration file of crictl', async () => {
    await withFake({}, async ({ socket, folder }) => {
      writeFileSync(join(folder, 'crictl.yaml'), `runtime-endpoint: unix://${socket}\ntimeout: 5\n`);
      const environment = { CONTAINER_RUNTIME_ENDPOINT: '' };
      const { stdout } = await berthctl('', ['-c', join(folder, 'crictl.yaml'), 'version'], { environment });
      assert.match(stdout, /^Version: {2}0\.1\.0\nRuntimeName: {2}berthd\n/);
    });
  });

  it('sets and shows keys of the configuration file', async () => {
    await withFake({}, async ({ socket, folder }) => {
      const environment = { CRI_CONFIG_FILE: join(folder, 'new.yaml') };
      writeFileSync(environment.CRI_CONFIG_FILE, '');
      assert.equal((await berthctl(socket, ['config', '--set', 'timeout=10'], { environment })).code, 0);
      assert.equal((await berthctl(socket, ['config', '--get', 'timeout'], { environment })).stdout, '10\n');
      assert.equal((await berthctl(socket, ['config', 'color', 'red'], { environment })).code, 2);
    });
  });

  it('pulls by CRI where the server has no berth.v1', async () => {
    const PullImage = () => ({ imageRef: 'sha256:abc' });
    await withFake({ images: { PullImage } }, async ({ socket, requests }) => {
      const { stdout, code } = await berthctl(socket, ['pull', '--creds', 'me:se:cret', 'busybox']);
      assert.deepEqual([code, stdout], [0, 'Image is up to date for sha256:abc\n']);
      const { auth } = requests['PullImage'] as cri.PullImageRequest;
      assert.deepEqual([auth?.username, auth?.password], ['me', 'se:cret']);
    });
  });

  const layers = (state: berth.LayerState, done: bigint) => [
    { digest: `sha256:${'c0ffee'.padEnd(64, '0')}`, state, done, total: 1000n },
  ];
  const Pull = async function* () {
    await Promise.resolve();
    yield { layers: layers(berth.LayerState.LAYER_DOWNLOADING, 500n) };
    yield { layers: layers(berth.LayerState.LAYER_DOWNLOADING, 700n) };
    yield { layers: layers(berth.LayerState.LAYER_DONE, 1000n), imageRef: 'busybox@sha256:1', imageId };
  };

  it('tells each step of a layer in a line where there is no terminal', async () => {
    await withFake({ berthImages: { Pull } }, async ({ socket }) => {
      const { stdout } = await berthctl(socket, ['pull', 'busybox']);
      assert.equal(
        stdout,
        'c0ffee000000: downloading (1kB)\nc0ffee000000: done (1kB)\nImage is up to date for busybox@sha256:1\n',
      );
    });
  });

  it('draws a bar for each layer on a terminal', async () => {
    await withFake({ berthImages: { Pull } }, async ({ socket }) => {
      const { stdout } = await berthctl(socket, ['pull', 'busybox'], { terminal: true });
      assert.match(stdout, /c0ffee000000 {2}done {9}\[={30,40}\] 1kB\/1kB\n/);
      assert.ok(stdout.split('\n').every((line) => line.length < 90));
    });
  });

  it('removes images, and tells which names are gone', async () => {
    await withFake({}, async ({ socket }) => {
      const { stdout } = await berthctl(socket, ['rmi', 'busybox:1.36']);
      assert.equal(stdout, 'Deleted: docker.io/library/busybox:latest\nDeleted: docker.io/library/busybox:1.36\n');
      assert.equal((await berthctl(socket, ['rmi', 'nothing'])).code, 3);
    });
  });

  it('prunes only what no container uses', async () => {
    await withFake({}, async ({ socket, calls }) => {
      assert.equal((await berthctl(socket, ['rmi', '--prune'])).stderr, 'No images to remove\n');
      assert.ok(!calls.includes('RemoveImage'));
    });
  });

  it('shows the numbered events as lines or as a line of JSON each', async () => {
    const Subscribe = async function* ({ afterSequence, noFollow }: berth.SubscribeRequest) {
      await Promise.resolve();
      assert.deepEqual([afterSequence, noFollow], [41n, true]);
      yield {
        sequence: 42n,
        timestamp: { seconds: 1_700_000_000n, nanos: 5 },
        namespace: 'k8s.io',
        topic: '/tasks/exit',
        containerId: webId,
        sandboxId,
        event: packAny(events.TaskExit, { containerId: webId, id: webId, pid: 9, exitStatus: 137 }),
      };
    };
    await withFake({ berthEvents: { Subscribe } }, async ({ socket }) => {
      const args = ['events', '--after', '41', '--no-follow'];
      assert.match(
        (await berthctl(socket, args)).stdout,
        /^ +42 2023-.* \/tasks\/exit +1f73f2d81bf98 pod=87d3992f84f74 pid=9 exitStatus=137\n$/,
      );
      const [line = '', rest] = (await berthctl(socket, [...args, '-o', 'json'])).stdout.split('\n');
      assert.equal(rest, '');
      assert.equal((JSON.parse(line) as { event: { exitStatus: number } }).event.exitStatus, 137);
    });
  });

  it("shows CRI's events as JSON", async () => {
    const GetContainerEvents = async function* () {
      await Promise.resolve();
      yield { containerId: webId, containerEventType: cri.ContainerEventType.CONTAINER_STOPPED_EVENT, createdAt: 1n };
    };
    await withFake({ runtime: { GetContainerEvents } }, async ({ socket }) => {
      const { stdout } = await berthctl(socket, ['events']);
      assert.equal((JSON.parse(stdout) as Record<string, string>)['containerEventType'], 'CONTAINER_STOPPED_EVENT');
    });
  });

  it('sends an archive and tells what it held', async () => {
    let received = 0;
    const Load = async (chunks: AsyncIterable<berth.ArchiveChunk>) => {
      for await (const { content } of chunks) received += content.length;
      return {
        images: [
          { imageId, tags: ['app:1'] },
          { imageId, tags: [] },
        ],
      };
    };
    await withFake({ berthImages: { Load } }, async ({ socket, folder }) => {
      writeFileSync(join(folder, 'a.tar'), Buffer.alloc(3_000_000));
      assert.equal(
        (await berthctl(socket, ['load', '-i', join(folder, 'a.tar')])).stdout,
        'Loaded image: app:1\nLoaded image: beae173ccac6a\n',
      );
      assert.equal(received, 3_000_000);
      const stdin = Readable.from([Buffer.from('tar')]) as unknown as NodeJS.ReadStream;
      assert.equal((await berthctl(socket, ['load'], { stdin })).code, 0);
      assert.equal(received, 3_000_003);
      assert.match(
        (await berthctl(socket, ['load', '-i', '/no/file'])).stderr,
        /cannot load \/no\/file: there is no such file/,
      );
    });
  });

  it('writes an archive, and leaves no part of one that breaks off', async () => {
    let breaks = false;
    const Save = async function* () {
      await Promise.resolve();
      yield { content: Buffer.from('first ') };
      if (breaks) throw new RpcError(Code.DataLoss, 'a blob is gone');
      yield { content: Buffer.from('second') };
    };
    await withFake({ berthImages: { Save } }, async ({ socket, folder }) => {
      const path = join(folder, 'out.tar');
      assert.equal((await berthctl(socket, ['save', '-o', path, 'busybox'])).code, 0);
      assert.equal(readFileSync(path, 'utf8'), 'first second');
      assert.equal((await berthctl(socket, ['save', 'busybox'])).stdout, 'first second');
      breaks = true;
      const broken = join(folder, 'broken.tar');
      assert.match(
        (await berthctl(socket, ['save', '-o', broken, 'busybox'])).stderr,
        /cannot save busybox: a blob is gone/,
      );
      assert.ok(!existsSync(broken));
    });
  });

  it('measures the share of a processor between two readings', async () => {
    let reading = 0n;
    const ListContainerStats = () => {
      reading += 1n;
      return {
        stats: [
          {
            attributes: { id: webId, metadata: { name: 'web' } },
            cpu: { timestamp: reading * 1_000_000_000n, usageCoreNanoSeconds: { value: reading * 250_000_000n } },
            memory: { workingSetBytes: { value: 12_345_678n } },
            writableLayer: { usedBytes: { value: 4096n }, inodesUsed: { value: 7n } },
          },
        ],
      };
    };
    await withFake({ runtime: { ListContainerStats } }, async ({ socket }) => {
      const [head = '', row = ''] = (await berthctl(socket, ['stats', '-s', '1'])).stdout.split('\n');
      assert.deepEqual(head.split(/ {2,}/), ['CONTAINER', 'NAME', 'CPU %', 'MEM', 'DISK', 'INODES', 'SWAP']);
      assert.deepEqual(row.split(/ {2,}/), ['1f73f2d81bf98', 'web', '25.00', '12.35MB', '4.096kB', '7', '0B']);
    });
  });

  it('prints runtime handlers and features with the names that crictl prints', async () => {
    const Status = () => ({
      status: {
        conditions: [
          { type: 'RuntimeReady', status: true },
          { type: 'NetworkReady', reason: 'NoConf', message: 'nothing' },
        ],
      },
      runtimeHandlers: [{ name: 'crun', features: { recursiveReadOnlyMounts: true } }],
      features: { supplementalGroupsPolicy: true },
      info: { config: '{"a":1}' },
    });
    await withFake({ runtime: { Status } }, async ({ socket }) => {
      const answer = JSON.parse((await berthctl(socket, ['info'])).stdout) as Record<string, unknown>;
      assert.deepEqual(answer['runtimeHandlers'], [{ name: 'crun', features: { recursive_read_only_mounts: true } }]);
      assert.deepEqual(answer['features'], { supplemental_groups_policy: true });
      assert.deepEqual(answer['config'], { a: 1 });
      assert.match((await berthctl(socket, ['info', '-o', 'table'])).stdout, /NetworkReady +NO +NoConf: nothing/);
    });
  });

  it('makes pods and containers of files in JSON and YAML', async () => {
    const runtime = {
      RunPodSandbox: () => ({ podSandboxId: sandboxId }),
      CreateContainer: () => ({ containerId: webId }),
      StartContainer: () => ({}),
    };
    const images = { PullImage: () => ({ imageRef: 'x' }) };
    await withFake({ runtime, images }, async ({ socket, folder, requests, calls }) => {
      const pod = join(folder, 'pod.yaml');
      const container = join(folder, 'container.json');
      writeFileSync(
        pod,
        'metadata: {name: web, namespace: default}\nlog_directory: /var/log/web\nlinux: {security_context: {namespace_options: {network: NODE}}}\nfrobnicate: 1\n',
      );
      writeFileSync(
        container,
        '{"metadata":{"name":"c"},"image":{"image":"busybox"},"command":["top"],"envs":[{"key":"A","value":"b"}],"linux":{"resources":{"memory_limit_in_bytes":1048576}}}',
      );
      const { code, stdout, stderr } = await berthctl(socket, ['run', '--no-pull', container, pod]);
      assert.deepEqual([code, stdout], [0, `${webId}\n`]);
      assert.match(stderr, /there is no "frobnicate" in runtime\.v1\.PodSandboxConfig; it is ignored/);
      const { config } = requests['RunPodSandbox'] as cri.RunPodSandboxRequest;
      assert.equal(config?.logDirectory, '/var/log/web');
      assert.equal(config.linux?.securityContext?.namespaceOptions?.network, cri.NamespaceMode.NODE);
      assert.match(config.metadata?.uid ?? '', /^[0-9a-f-]{36}$/);
      const made = (requests['CreateContainer'] as cri.CreateContainerRequest).config;
      assert.equal(Buffer.from(made?.envs[0]?.value ?? []).toString(), 'b');
      assert.equal(made?.linux?.resources?.memoryLimitInBytes, 1048576n);
      assert.equal(made.image?.userSpecifiedImage, 'busybox');
      assert.ok(!calls.includes('PullImage'));
      assert.equal((await berthctl(socket, ['create', '--with-pull', '87d3', container, pod])).stdout, `${webId}\n`);
      assert.ok(calls.includes('PullImage'));
    });
  });

  it('names the place of a mistake in a file', async () => {
    await withFake({}, async ({ socket, folder }) => {
      const pod = join(folder, 'pod.json');
      writeFileSync(pod, '{"metadata":{"name":"web","namespace":"default"},"port_mappings":[{"host_port":"80"}]}');
      const { code, stderr } = await berthctl(socket, ['runp', pod]);
      assert.equal(code, 1);
      assert.match(stderr, /port_mappings\[0\]\.host_port must be a whole number, not "80"/);
    });
  });

  it('changes limits', async () => {
    await withFake({ runtime: { UpdateContainerResources: () => ({}) } }, async ({ socket, requests }) => {
      const limits = [
        '--memory',
        '1048576',
        '--cpu-quota',
        '-1',
        '--hugepage-limit',
        '2MB=4096',
        '--unified',
        'memory.high=5',
      ];
      assert.equal((await berthctl(socket, ['update', ...limits, '1f73'])).stdout, '1f73\n');
      const { linux } = requests['UpdateContainerResources'] as cri.UpdateContainerResourcesRequest;
      assert.deepEqual(
        [linux?.memoryLimitInBytes, linux?.cpuQuota, linux?.hugepageLimits, linux?.unified],
        [1048576n, -1n, [{ pageSize: '2MB', limit: 4096n }], { 'memory.high': '5' }],
      );
      assert.equal((await berthctl(socket, ['update', '1f73'])).code, 2);
    });
  });

  it('sets the log level', async () => {
    await withFake({ daemon: { SetLogLevel: ({ level }) => ({ level: level || 'info' }) } }, async ({ socket }) => {
      assert.equal((await berthctl(socket, ['log-level'])).stdout, 'info\n');
      assert.equal((await berthctl(socket, ['log-level', 'debug'])).stdout, 'debug\n');
      assert.equal((await berthctl(socket, ['log-level', 'loud'])).code, 2);
    });
  });
});
