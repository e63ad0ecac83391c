import assert from 'node:assert/strict';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { Log } from '../../../../src/manager/log.ts';
import { temporaryFolder } from '../temporary-folder.ts';

for (const pretty of [false, true]) {
  test(`a line is written when the call returns, ${pretty ? 'for people' : 'as JSON'}, and children follow the level`, (t) => {
    const path = join(temporaryFolder(t), 'log');
    const fd = openSync(path, 'w');
    t.after(() => closeSync(fd));
    const log = new Log({ level: 'info', pretty, fd });
    const child = log.logger.child({ part: 'network' });
    const grandchild = child.child({ pod: 'p' });
    const written = () => readFileSync(path, 'utf8').split('\n').length - 1;
    grandchild.debug('one');
    assert.equal(written(), 0);
    log.level = 'debug';
    grandchild.debug('two');
    const lines = written();
    assert.ok(lines > 0);
    log.level = 'error';
    grandchild.info('three');
    child.info('four');
    assert.equal(written(), lines);
    assert.equal(log.level, 'error');
    const text = readFileSync(path, 'utf8');
    if (pretty) assert.match(text, /DEBUG.*two/);
    else assert.equal((JSON.parse(text) as { pod: string }).pod, 'p');
  });
}
