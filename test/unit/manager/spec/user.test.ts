import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Code } from '../../../../src/grpc/index.ts';
import { parseGroup, parsePasswd } from '../../../../src/manager/spec/account-files.ts';
import { checkUser, resolveUser } from '../../../../src/manager/spec/user.ts';
import type { cri, Init } from '../../../../src/wire/index.ts';
import { refuses, securityContext } from './configs.ts';

const passwd = [
  '# users',
  'root:x:0:0:root:/root:/bin/sh',
  'web:x:1000:1001::/srv:/bin/sh',
  'negative:x:-1:-1::/:/bin/sh',
  'huge:x:4294967296:0::/:/bin/sh',
  'words:x:zero:zero::/:/bin/sh',
  'short:x',
  ':x:5:5::/:',
  '2000:x:3000:3000::/:',
].join('\n');
const group = 'root:x:0:root\nweb:x:1001:web\nwheel:x:10:root,web\nlogs:x:20:web\nbad:x:-5:web\nodd\n\nmany:x:20:web';
const accounts = { users: parsePasswd(passwd), groups: parseGroup(group) };

function resolve(security: Init<cri.LinuxContainerSecurityContext>, imageUser = '') {
  const context = securityContext(security);
  checkUser(context);
  return resolveUser(context, imageUser, () => accounts);
}

const id = (value: number | bigint) => ({ value });

test('lines that no container can use are passed over, whatever is in them', () => {
  assert.deepEqual(
    accounts.users.map(({ name }) => name),
    ['root', 'web', '2000'],
  );
  assert.deepEqual(
    accounts.groups.map(({ name }) => name),
    ['root', 'web', 'wheel', 'logs', 'many'],
  );
});

test('the image’s user is meant in each of its forms', () => {
  const cases: [user: string, uid: number, gid: number, gids: number[]][] = [
    ['', 0, 0, [0, 10]],
    ['root', 0, 0, [0, 10]],
    ['web', 1000, 1001, [10, 20, 1001]],
    ['1000', 1000, 1001, [10, 20, 1001]],
    ['0001000', 1000, 1001, [10, 20, 1001]],
    ['web:logs', 1000, 20, [10, 20]],
    ['web:7', 1000, 7, [7, 10, 20]],
    ['1234', 1234, 0, [0]],
    ['1234:5678', 1234, 5678, [5678]],
    ['1234:wheel', 1234, 10, [10]],
    [':wheel', 0, 10, [10]],
    ['web:', 1000, 1001, [10, 20, 1001]],
    ['2000', 2000, 0, [0]],
  ];
  for (const [user, uid, gid, additionalGids] of cases) {
    assert.deepEqual(resolve({}, user), { uid, gid, additionalGids }, user);
  }
});

test('the request’s user comes before the image’s, by name before by number', () => {
  assert.equal(resolve({ runAsUser: id(7) }, 'web').uid, 7);
  assert.equal(resolve({ runAsUsername: 'web' }, 'root').uid, 1000);
  assert.equal(resolve({ runAsUsername: 'web', runAsUser: id(7) }).uid, 1000);
  assert.deepEqual(resolve({ runAsUser: id(1000) }), { uid: 1000, gid: 1001, additionalGids: [10, 20, 1001] });
  assert.deepEqual(resolve({ runAsUser: id(1000), runAsGroup: id(5) }), {
    uid: 1000,
    gid: 5,
    additionalGids: [5, 10, 20],
  });
});

test('supplemental groups are added to the image’s, or stand alone with the policy Strict', () => {
  const groups = { runAsUser: id(1000), supplementalGroups: [60000n, 5n, 5n] };
  assert.deepEqual(resolve(groups).additionalGids, [5, 10, 20, 1001, 60000]);
  assert.deepEqual(resolve({ ...groups, supplementalGroupsPolicy: 1 }).additionalGids, [5, 1001, 60000]);
});

test('the image’s files are not asked when nothing depends on them', () => {
  const strict = securityContext({ runAsUser: id(9), runAsGroup: id(9), supplementalGroupsPolicy: 1 });
  const nobody = () => assert.fail('the files were read');
  assert.deepEqual(resolveUser(strict, 'whoever', nobody), { uid: 9, gid: 9, additionalGids: [9] });
});

test('who is unknown is refused', () => {
  refuses(() => resolve({ runAsUsername: 'nobody' }), /runAsUsername: .*no usable user "nobody"/);
  refuses(() => resolve({}, 'web:nobody'), /the image's user: .*no usable group "nobody"/);
  for (const name of ['negative', 'huge', 'words', 'short']) refuses(() => resolve({}, name), /no usable user/);
});

test('ids that are negative or too great are refused, in requests and in images', () => {
  refuses(() => resolve({ runAsUser: id(-1n) }), /runAsUser: -1 is not between 0 and 2147483647/);
  refuses(() => resolve({ runAsUser: id(2n ** 31n) }), /runAsUser: 2147483648/);
  refuses(() => resolve({ runAsUser: id(1), runAsGroup: id(-7) }), /runAsGroup: -7/);
  refuses(() => resolve({ supplementalGroups: [1n, 2n ** 40n] }), /supplementalGroups\[1\]: 1099511627776/);
  refuses(() => resolve({ runAsUsername: '-1' }), /runAsUsername: -1/);
  for (const user of ['-1', '4294967295', '99999999999999999999', '0:-1', '0:2147483648']) {
    refuses(() => resolve({}, user), /the image's user: .* is not between 0 and/);
  }
});

test('names that are none are refused', () => {
  refuses(() => resolve({ runAsUsername: 'root\nroot:x:0:0' }), /runAsUsername: .*control characters/);
  refuses(() => resolve({ runAsUsername: 'a:b' }), /runAsUsername: "a:b" is no user/);
  refuses(() => resolve({}, 'web\nx'), /the image's user: .*control characters/);
  refuses(() => resolve({}, 'a:b:c'), /neither "user" nor "user:group"/);
});

test('a group without a user, and a policy that is not known, are refused', () => {
  refuses(() => resolve({ runAsGroup: id(5) }), /runAsGroup: is given without runAsUser/);
  refuses(() => resolve({ supplementalGroupsPolicy: 7 as 0 }), /supplementalGroupsPolicy: 7/, Code.Unimplemented);
});
