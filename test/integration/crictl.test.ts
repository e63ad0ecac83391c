/** Kubernetes's own client of CRI drives berthd: what people on a node type. */
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { before, test, type TestContext } from 'node:test';
import { BerthdBed } from '../support/berthd-bed.ts';
import { criToolsPrograms } from '../support/cri-tools.ts';
import { findGo } from '../support/go.ts';
import { makeImageArchive } from '../support/image.ts';
import { makeBusyboxRootfs } from '../support/rootfs.ts';
import { until } from '../support/until.ts';

const go = await findGo();
const skip = go === undefined && 'Go is missing, and crictl is built from a Go module: https://go.dev/dl';

let program = '';
before(
  async () => {
    if (go !== undefined) program = (await criToolsPrograms()).crictl;
  },
  { timeout: 600_000 }, // it is built once, which takes a minute and more
);

/** `crictl` as a function that fails unless the command succeeds, and gives what it printed. */
function crictlOf(bed: BerthdBed) {
  return async (...args: string[]): Promise<string> => {
    const endpoint = `unix://${bed.socket}`;
    const flags = ['--config', bed.path('crictl.yaml'), '--runtime-endpoint', endpoint, '--image-endpoint', endpoint];
    const { code, stdout, stderr } = await bed.command(program, [...flags, '--timeout', '20s', ...args]);
    assert.equal(code, 0, `crictl ${args.join(' ')}: ${stderr}`);
    return stdout.trimEnd();
  };
}

async function bedWithImage(t: TestContext): Promise<{ bed: BerthdBed; image: string }> {
  const bed = await BerthdBed.open(t, { started: false });
  writeFileSync(bed.path('crictl.yaml'), '');
  await bed.start();
  await bed.startRegistry();
  makeBusyboxRootfs(bed.path('rootfs'));
  const archive = await makeImageArchive(bed.path('rootfs'), bed.scratch.folder, 'localhost/busybox:test');
  return { bed, image: await bed.push(archive, 'library/busybox:latest') };
}

test('crictl takes an image and a pod with a container through their lives', { skip }, async (t) => {
  const { bed, image } = await bedWithImage(t);
  const crictl = crictlOf(bed);
  const json = async (...args: string[]) => JSON.parse(await crictl(...args)) as Record<string, never>;

  assert.match(await crictl('version'), /RuntimeName: +berth/);
  const pulled = await crictl('pull', image);
  assert.match(pulled, /Image is up to date for sha256:[0-9a-f]{64}/);
  assert.match(await crictl('images'), /127\.0\.0\.1:5000\/library\/busybox +latest/);

  mkdirSync(bed.path('logs'));
  const podConfig = {
    metadata: { name: 'harbour', namespace: 'default', uid: 'uid-of-harbour', attempt: 1 },
    log_directory: bed.path('logs'),
    linux: { cgroup_parent: `/${bed.scratch.mark}` },
  };
  const containerConfig = {
    metadata: { name: 'boat', attempt: 0 },
    image: { image },
    command: ['sh', '-c', 'trap "exit 3" TERM; sleep 3600 & echo moored; wait'],
    log_path: 'boat.log',
    linux: {},
  };
  writeFileSync(bed.path('pod.json'), JSON.stringify(podConfig));
  writeFileSync(bed.path('container.json'), JSON.stringify(containerConfig));

  const pod = await crictl('runp', bed.path('pod.json'));
  assert.match(pod, /^[0-9a-f]{64}$/);
  assert.match(await crictl('pods'), new RegExp(`${pod.slice(0, 13)}.*Ready +harbour +default +1`));

  const container = await crictl('create', pod, bed.path('container.json'), bed.path('pod.json'));
  assert.match(await crictl('ps', '--all'), new RegExp(`${container.slice(0, 13)}.*Created +boat`));
  assert.equal(await crictl('start', container), container);
  assert.match(await crictl('ps'), new RegExp(`${container.slice(0, 13)}.*Running +boat`));

  await until('a line in the log', async () => (await crictl('logs', container)) === 'moored');
  assert.equal(await crictl('exec', '--sync', container, 'echo', 'ahoy'), 'ahoy');

  const { status } = (await json('inspect', container)) as unknown as {
    status: { state: string; metadata: { name: string }; image: { image: string } };
  };
  assert.equal(status.state, 'CONTAINER_RUNNING');
  assert.equal(status.metadata.name, 'boat');
  const { status: podStatus } = (await json('inspectp', pod)) as unknown as { status: { network: { ip: string } } };
  assert.match(podStatus.network.ip, /^10\.88\./);

  assert.match(await crictl('stats', container), new RegExp(`${container.slice(0, 13)} +boat`));
  assert.match(await crictl('statsp', pod), new RegExp(pod.slice(0, 13)));

  assert.equal(await crictl('stop', '--timeout', '10', container), container);
  assert.match(await crictl('ps', '--all'), new RegExp(`${container.slice(0, 13)}.*Exited +boat`));
  assert.equal((await bed.cri.container(container)).exitCode, 3);
  assert.equal(await crictl('rm', container), container);
  assert.equal((await crictl('ps', '--all', '--quiet')).trim(), '');

  assert.match(await crictl('stopp', pod), new RegExp(pod));
  assert.match(await crictl('pods'), /NotReady +harbour/);
  assert.match(await crictl('rmp', pod), new RegExp(pod));
  assert.equal((await crictl('pods', '--quiet')).trim(), '');
  assert.match(await crictl('rmi', image), /Deleted: 127\.0\.0\.1:5000\/library\/busybox:latest/);
});
