import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Code } from '../../../../src/grpc/index.ts';
import { apparmorProfile } from '../../../../src/manager/spec/apparmor.ts';
import { checkSeccomp, seccomp } from '../../../../src/manager/spec/seccomp.ts';
import { profileChoice } from '../../../../src/manager/spec/security-profile.ts';
import { cri, type Init } from '../../../../src/wire/index.ts';
import { hostFacts, refuses, securityContext } from './configs.ts';

const folder = mkdtempSync(join(tmpdir(), 'berth-spec-'));
after(() => rmSync(folder, { recursive: true, force: true }));

const { RuntimeDefault, Unconfined, Localhost } = cri.SecurityProfile_ProfileType;
const { FailedPrecondition } = Code;
const simple = { defaultAction: 'SCMP_ACT_ALLOW', syscalls: [{ names: ['mkdir'], action: 'SCMP_ACT_ERRNO' }] };

function file(name: string, text = JSON.stringify(simple)): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

const profile = file('profile.json');
const host = hostFacts({ seccompProfile: profile });

function filter(init: Init<cri.LinuxContainerSecurityContext>, on = host) {
  const security = securityContext(init);
  checkSeccomp(security);
  return seccomp(security, [], on);
}

test('a profile is meant by its field, or by the deprecated path', () => {
  const choice = (path: string) => profileChoice(undefined, path, 'f');
  assert.equal(choice(''), undefined);
  assert.deepEqual(choice('unconfined'), { kind: 'unconfined' });
  assert.deepEqual(choice('runtime/default'), { kind: 'runtimeDefault' });
  assert.deepEqual(choice('docker/default'), { kind: 'runtimeDefault' });
  assert.deepEqual(choice('localhost//a/b.json'), { kind: 'localhost', name: '/a/b.json' });
  assert.deepEqual(profileChoice({ profileType: Unconfined, localhostRef: '' }, 'runtime/default', 'f'), {
    kind: 'unconfined',
  });
  refuses(() => choice('something'), /f \(deprecated path\): "something" is none of/);
  refuses(() => choice('localhost/'), /names no profile/);
  refuses(() => profileChoice({ profileType: Unconfined, localhostRef: 'x' }, '', 'f'), /f\.localhostRef/);
  refuses(() => profileChoice({ profileType: 9 as 0, localhostRef: '' }, '', 'f'), /9/, Code.Unimplemented);
});

test('system calls are filtered when it is asked for, and never those of privileged containers', () => {
  assert.equal(filter({}), undefined);
  assert.equal(filter({ seccomp: { profileType: Unconfined } }), undefined);
  assert.equal(filter({ seccomp: { profileType: RuntimeDefault } })?.defaultAction, 'SCMP_ACT_ALLOW');
  assert.equal(filter({ seccompProfilePath: 'runtime/default' })?.defaultAction, 'SCMP_ACT_ALLOW');
  assert.equal(filter({ seccompProfilePath: `localhost/${profile}` })?.syscalls?.length, 1);
  assert.equal(filter({ seccomp: { profileType: Localhost, localhostRef: profile } })?.syscalls?.length, 1);
  assert.equal(filter({ seccomp: { profileType: RuntimeDefault }, privileged: true }), undefined);
});

test('a default profile that is not there names the package that brings it', () => {
  const without = hostFacts({ seccompProfile: '/nowhere/seccomp.json' });
  refuses(
    () => filter({ seccomp: { profileType: RuntimeDefault } }, without),
    /seccomp: .*\/nowhere\/seccomp\.json.*golang-github-containers-common/,
    FailedPrecondition,
  );
});

test('profiles that cannot be used are refused by their path', () => {
  const of = (localhostRef: string) => () => filter({ seccomp: { profileType: Localhost, localhostRef } });
  refuses(of('profile.json'), /localhostRef: "profile\.json" is no absolute path/);
  refuses(of(join(folder, 'none')), /none cannot be used: ENOENT/, FailedPrecondition);
  refuses(of(folder), /not a regular file/, FailedPrecondition);
  refuses(of(file('broken.json', '{')), /broken\.json cannot be used/, FailedPrecondition);
  refuses(of(file('empty.json', '{}')), /no defaultAction/, FailedPrecondition);
  truncateSync(file('large.json'), 1 << 30);
  refuses(of(join(folder, 'large.json')), /longer than/, FailedPrecondition);
});

test('without seccomp in the kernel only Unconfined is possible', () => {
  const bare = hostFacts({ seccomp: false, seccompProfile: profile });
  assert.equal(filter({}, bare), undefined);
  refuses(() => filter({ seccomp: { profileType: RuntimeDefault } }, bare), /no seccomp/, FailedPrecondition);
});

test('a profile of AppArmor needs a host with AppArmor; the default is none', () => {
  const of = (init: Init<cri.LinuxContainerSecurityContext>) => apparmorProfile(securityContext(init), host);
  assert.equal(of({}), undefined);
  assert.equal(of({ apparmor: { profileType: RuntimeDefault } }), undefined);
  assert.equal(of({ apparmor: { profileType: Unconfined } }), undefined);
  assert.equal(of({ apparmorProfile: 'runtime/default' }), undefined);
  const mine = { apparmor: { profileType: Localhost, localhostRef: 'localhost/mine' } };
  refuses(() => of(mine), /apparmor: the profile "mine" needs AppArmor/, FailedPrecondition);
  refuses(() => of({ apparmorProfile: 'localhost/mine' }), /needs AppArmor/, FailedPrecondition);
});
