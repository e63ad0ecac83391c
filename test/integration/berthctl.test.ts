import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { BerthdBed, busyboxImage } from '../support/berthd-bed.ts';
import { berthctlBinary } from '../support/paths.ts';
import { Running } from '../support/running.ts';
import { until } from '../support/until.ts';

const runFolders = () => readdirSync(tmpdir()).filter((name) => name.startsWith('berthctl-run-'));

describe('berthctl with a real berthd', () => {
  it('runs an image in one step, with output, exit code, files and environment, and leaves nothing', async (t) => {
    const bed = await BerthdBed.open(t);
    const before = runFolders();
    const script = 'echo "$GREETING $(cat /data/word)"; echo trouble >&2; exit 7';
    const word = bed.path('word');
    await bed.command('sh', ['-c', `echo world > ${word}`]);
    const args = [
      'run',
      '--rm',
      '-e',
      'GREETING=hello',
      '-v',
      `${word}:/data/word:ro`,
      busyboxImage,
      'sh',
      '-c',
      script,
    ];
    const { code, stdout, stderr } = await bed.berthctl(...args);
    assert.deepEqual({ code, stdout, stderr }, { code: 7, stdout: 'hello world\n', stderr: 'trouble\n' });
    assert.equal((await bed.berthctl('ps', '-aq')).stdout, '');
    assert.equal((await bed.berthctl('pods', '-q')).stdout, '');
    assert.deepEqual(runFolders(), before);
    assert.equal((await bed.berthctl('run', '--rm', busyboxImage, 'no-such-command')).code, 127);
    assert.equal((await bed.berthctl('run', '--rm', busyboxImage, '/etc/passwd')).code, 126);
    assert.equal((await bed.berthctl('run', '--rm', '--no-pull', 'localhost/none:none')).code, 125);
    assert.equal((await bed.berthctl('pods', '-q')).stdout, '');
  });

  it('shows a running container by prefix and by name, and what happened to it', async (t) => {
    const bed = await BerthdBed.open(t);
    const started = await bed.berthctl('run', '-d', '--name', 'web', busyboxImage, 'sh', '-c', 'echo up; sleep 1000');
    assert.equal(started.code, 0, started.stderr);
    const id = started.stdout.trim();
    assert.match(
      (await bed.berthctl('ps')).stdout,
      new RegExp(`^${id.slice(0, 13)} +\\S+ +\\S.* ago +Running +web +0 +\\w{13} +web +default$`, 'm'),
    );
    assert.equal((await bed.berthctl('exec', '-s', 'web', 'sh', '-c', 'hostname; exit 4')).stdout, 'web\n');
    assert.equal((await bed.berthctl('exec', '-s', id.slice(0, 8), 'false')).code, 1);
    await until('its output', async () => (await bed.berthctl('logs', 'web')).stdout === 'up\n');
    const [, row = ''] = (await bed.berthctl('stats', 'web')).stdout.split('\n');
    assert.match(row, new RegExp(`^${id.slice(0, 13)} +web +\\d+\\.\\d\\d +[\\d.]+[kM]?B `));
    assert.match((await bed.berthctl('statsp')).stdout, /^web +\w{13} +\d/m);
    const inspected = await bed.berthctl(
      'inspect',
      '-q',
      '-o',
      'go-template',
      '--template',
      '{{.status.state}}',
      'web',
    );
    assert.equal(inspected.stdout, 'CONTAINER_RUNNING\n');
    const stopped = await bed.berthctl('stop', 'web');
    assert.equal(stopped.code, 0, stopped.stderr);
    const events = await bed.berthctl('events', '--after', '0', '--no-follow');
    assert.match(events.stdout, new RegExp(`/tasks/exit +${id.slice(0, 13)} .*exitStatus=137`), events.stderr);
    assert.match(
      (await bed.berthctl('inspect', '-o', 'table', 'web')).stdout,
      /State: CONTAINER_EXITED[\s\S]*Exit Code: 137/,
    );
    assert.equal((await bed.berthctl('rm', 'web')).code, 0);
    assert.equal((await bed.berthctl('rmp', '-f', 'web')).code, 0);
  });

  it('loses nothing of a run when the daemon is killed in the middle and comes back', async (t) => {
    const bed = await BerthdBed.open(t);
    const script = 'for i in 0 1 2 3 4 5 6 7 8 9; do echo $i; sleep 0.3; done; exit 5';
    const args = ['--runtime-endpoint', bed.socket, 'run', '--rm', busyboxImage, 'sh', '-c', script];
    const running = new Running(...bed.place.wrap(berthctlBinary, args));
    await running.says('1\n', 30_000);
    await bed.kill9();
    await sleep(400);
    await bed.start();
    assert.deepEqual([await running.exited, running.stdout], [5, '0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n']);
    assert.equal((await bed.berthctl('pods', '-q')).stdout, '');
  });

  it('answers about the server and the images', async (t) => {
    const bed = await BerthdBed.open(t);
    assert.match((await bed.berthctl('version')).stdout, /^RuntimeName: {2}berth$/m);
    assert.match((await bed.berthctl('info', '-o', 'table')).stdout, /^RuntimeReady +yes/m);
    assert.match((await bed.berthctl('runtime-config')).stdout, /^cgroup driver: +(CGROUPFS|SYSTEMD)$/m);
    assert.equal((await bed.berthctl('log-level', 'debug')).stdout, 'debug\n');
    const archive = bed.path('saved.tar');
    const saved = await bed.berthctl('save', '-o', archive, busyboxImage);
    assert.equal(saved.code, 0, saved.stderr);
    assert.equal((await bed.berthctl('rmi', busyboxImage)).stdout, `Deleted: ${busyboxImage}\n`);
    assert.equal((await bed.berthctl('load', '-i', archive)).stdout, `Loaded image: ${busyboxImage}\n`);
    assert.match((await bed.berthctl('images')).stdout, /^localhost\/busybox +test +\w{13} +[\d.]+MB$/m);
    assert.match((await bed.berthctl('imagefsinfo', '-o', 'table')).stdout, /Mountpoint\[0\]: \//);
    const { stdout } = await bed.berthctl('doctor', '--cni-conf-dir', bed.path('cni'));
    assert.match(stdout, /^ok {4}berthd {7}berth 0/m);
  });
});
