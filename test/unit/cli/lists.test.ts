import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { imageId, oldId, sandboxId, startFake, webId, type Fake } from './fake-server.ts';
import { berthctl } from './run-cli.ts';

describe('the lists of berthctl', () => {
  let fake: Fake;
  before(async () => {
    fake = await startFake();
  });
  after(() => fake.close());

  it('shows running containers in the columns of crictl', async () => {
    const { stdout, code } = await berthctl(fake.socket, ['ps']);
    assert.equal(code, 0);
    assert.equal(
      stdout,
      'CONTAINER           IMAGE               CREATED             STATE               NAME                ATTEMPT             POD ID              POD                 NAMESPACE\n' +
        '1f73f2d81bf98       beae173ccac6a       3 minutes ago       Running             web                 0                   87d3992f84f74       web-pod             default\n',
    );
  });

  it('shows containers in any state with -a, newest first', async () => {
    const { stdout } = await berthctl(fake.socket, ['ps', '-a']);
    const [, first = '', second = ''] = stdout.split('\n');
    assert.match(first, /^1f73f2d81bf98 .* Running/);
    assert.match(second, /^1f9c04ee2f9d1 .* 2 hours ago +Exited +old +2 /);
  });

  it('shows only ids with -q, whole', async () => {
    assert.equal((await berthctl(fake.socket, ['ps', '-aq'])).stdout, `${webId}\n${oldId}\n`);
  });

  it('picks the newest with --latest and --last', async () => {
    assert.equal((await berthctl(fake.socket, ['ps', '-q', '--latest'])).stdout, `${webId}\n`);
    assert.equal((await berthctl(fake.socket, ['ps', '-q', '--last', '2'])).stdout, `${webId}\n${oldId}\n`);
  });

  it('picks by name, state, pod and image', async () => {
    assert.equal((await berthctl(fake.socket, ['ps', '-aq', '--name', '^o'])).stdout, `${oldId}\n`);
    assert.equal((await berthctl(fake.socket, ['ps', '-q', '--state', 'exited'])).stdout, `${oldId}\n`);
    assert.equal((await berthctl(fake.socket, ['ps', '-q', '-p', '87d3'])).stdout, `${webId}\n`);
    assert.equal((await berthctl(fake.socket, ['ps', '-q', '--image', 'busybox'])).stdout, `${webId}\n`);
    assert.equal((await berthctl(fake.socket, ['ps', '-q', '--image', 'other'])).stdout, '');
  });

  it('shows the name of an image instead of its id with -r', async () => {
    assert.match((await berthctl(fake.socket, ['ps', '-r'])).stdout, /docker\.io\/library\/busybox:latest/);
  });

  it('prints containers as JSON with enums by name and 64-bit numbers as text', async () => {
    const { stdout } = await berthctl(fake.socket, ['ps', '-o', 'json']);
    const { containers } = JSON.parse(stdout) as { containers: Record<string, unknown>[] };
    const first = containers[0] ?? {};
    assert.equal(first['state'], 'CONTAINER_RUNNING');
    assert.match(String(first['createdAt']), /^\d{19}$/);
    assert.equal(typeof first['createdAt'], 'string');
  });

  it('prints YAML', async () => {
    assert.match((await berthctl(fake.socket, ['pods', '-o', 'yaml'])).stdout, /state: SANDBOX_READY/);
  });

  it('prints what a template says, for lists too', async () => {
    const template = '{{range .containers}}{{.metadata.name}} {{.state}}{{end}}';
    const { stdout } = await berthctl(fake.socket, ['ps', '-o', 'go-template', '--template', template]);
    assert.equal(stdout, 'web CONTAINER_RUNNING\n');
  });

  it('shows pods in the columns of crictl', async () => {
    assert.equal(
      (await berthctl(fake.socket, ['pods'])).stdout,
      'POD ID              CREATED             STATE               NAME                NAMESPACE           ATTEMPT             RUNTIME\n' +
        '87d3992f84f74       3 minutes ago       Ready               web-pod             default             0                   crun\n',
    );
    assert.equal((await berthctl(fake.socket, ['pods', '-q', '--state', 'ready'])).stdout, `${sandboxId}\n`);
    assert.equal((await berthctl(fake.socket, ['pods', '-q', '--name', 'nothing'])).stdout, '');
  });

  it('shows images, a line for each tag', async () => {
    assert.equal(
      (await berthctl(fake.socket, ['images'])).stdout,
      'IMAGE                       TAG                 IMAGE ID            SIZE\n' +
        'docker.io/library/busybox   latest              beae173ccac6a       2.22MB\n' +
        'docker.io/library/busybox   1.36                beae173ccac6a       2.22MB\n',
    );
  });

  it('shows digests, pins, and only the images that a filter leaves', async () => {
    const { stdout } = await berthctl(fake.socket, ['images', '--digests', '--pinned', '--no-trunc']);
    assert.match(stdout, new RegExp(`sha256:a1b2c30+ +${imageId} +2.22MB +false`));
    assert.equal((await berthctl(fake.socket, ['images', '-q', '--filter', 'dangling=true'])).stdout, '');
    assert.equal((await berthctl(fake.socket, ['images', '-q', '-f', 'reference=busy'])).stdout, `${imageId}\n`);
  });

  it('says what a filter can be', async () => {
    const { code, stderr } = await berthctl(fake.socket, ['images', '--filter', 'size=3']);
    assert.equal(code, 2);
    assert.match(stderr, /--filter is dangling=, reference=, before= or since=/);
  });
});
