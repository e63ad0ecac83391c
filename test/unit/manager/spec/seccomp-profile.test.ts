import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { SeccompProfileError, translateSeccomp } from '../../../../src/manager/spec/seccomp-profile.ts';

const place = { architecture: 'amd64', kernel: { major: 6, minor: 1 }, capabilities: ['CAP_KILL'] };
const allow = { names: ['read'], action: 'SCMP_ACT_ALLOW' };

/** The names of the system calls whose rules are left. */
function names(rules: object[], where: Partial<typeof place> = {}): string[] {
  const profile = { defaultAction: 'SCMP_ACT_ERRNO', syscalls: rules };
  return (translateSeccomp(profile, { ...place, ...where }).syscalls ?? []).flatMap((rule) => rule.names);
}

test('rules count where their conditions hold', () => {
  const rule = (name: string, conditions: object) => ({ ...allow, names: [name], ...conditions });
  const rules = [
    rule('always', { includes: {}, excludes: null, args: null }),
    rule('here', { includes: { arches: ['amd64', 'x32'] } }),
    rule('elsewhere', { includes: { arches: ['arm64'] } }),
    rule('not-here', { excludes: { arches: ['amd64'] } }),
    rule('can', { includes: { caps: ['CAP_KILL'] } }),
    rule('cannot', { includes: { caps: ['CAP_KILL', 'CAP_BPF'] } }),
    rule('not-if-can', { excludes: { caps: ['CAP_BPF', 'CAP_KILL'] } }),
    rule('if-cannot', { excludes: { caps: ['CAP_BPF'] } }),
    rule('new', { includes: { minKernel: '6.1' } }),
    rule('newer', { includes: { minKernel: '6.2' } }),
    rule('old', { excludes: { minKernel: '6.2' } }),
    rule('older', { excludes: { minKernel: '4.8' } }),
  ];
  assert.deepEqual(names(rules), ['always', 'here', 'can', 'if-cannot', 'new', 'old']);
  const other = { architecture: 'arm64', capabilities: ['CAP_BPF', 'CAP_KILL'], kernel: { major: 10, minor: 0 } };
  assert.deepEqual(names(rules, other), ['always', 'elsewhere', 'not-here', 'can', 'cannot', 'new', 'newer']);
  assert.deepEqual(names([rule('i386', { includes: { arches: ['x86'] } })], { architecture: '386' }), ['i386']);
});

test('the map of architectures becomes the list of this machine’s', () => {
  const archMap = [
    { architecture: 'SCMP_ARCH_X86_64', subArchitectures: ['SCMP_ARCH_X86', 'SCMP_ARCH_X32'] },
    { architecture: 'SCMP_ARCH_AARCH64', subArchitectures: ['SCMP_ARCH_ARM'] },
  ];
  const of = (architecture: string) =>
    translateSeccomp({ defaultAction: 'SCMP_ACT_ALLOW', archMap }, { ...place, architecture }).architectures;
  assert.deepEqual(of('amd64'), ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86', 'SCMP_ARCH_X32']);
  assert.deepEqual(of('arm64'), ['SCMP_ARCH_AARCH64', 'SCMP_ARCH_ARM']);
  assert.equal(of('riscv64'), undefined);
});

test('errors are meant by name or number, and only where the action has one', () => {
  const profile = {
    defaultAction: 'SCMP_ACT_ERRNO',
    defaultErrno: 'ENOSYS',
    defaultErrnoRet: 38,
    syscalls: [
      { names: ['a'], action: 'SCMP_ACT_ERRNO', errno: 'EPERM', errnoRet: 1 },
      { names: ['b'], action: 'SCMP_ACT_ERRNO', errnoRet: 22 },
      { name: 'c', action: 'SCMP_ACT_ALLOW', errnoRet: 22 },
    ],
  };
  assert.deepEqual(translateSeccomp(profile, place), {
    defaultAction: 'SCMP_ACT_ERRNO',
    defaultErrnoRet: 38,
    syscalls: [
      { names: ['a'], action: 'SCMP_ACT_ERRNO', errnoRet: 1 },
      { names: ['b'], action: 'SCMP_ACT_ERRNO', errnoRet: 22 },
      { names: ['c'], action: 'SCMP_ACT_ALLOW' },
    ],
  });
});

test('a profile in the runtime’s own form stays as it is', () => {
  const profile = {
    defaultAction: 'SCMP_ACT_ALLOW',
    architectures: ['SCMP_ARCH_X86_64'],
    flags: ['SECCOMP_FILTER_FLAG_LOG'],
    syscalls: [
      {
        names: ['clone'],
        action: 'SCMP_ACT_ERRNO',
        errnoRet: 1,
        args: [{ index: 0, value: 2114060288, valueTwo: 0, op: 'SCMP_CMP_MASKED_EQ' }],
      },
    ],
  };
  assert.deepEqual(translateSeccomp(profile, place), profile);
});

test('a profile that cannot be understood is refused, saying where', () => {
  const cases: [unknown, RegExp][] = [
    [[], /the profile is no JSON object/],
    ['x', /no JSON object/],
    [{}, /no defaultAction/],
    [{ defaultAction: 5 }, /defaultAction is not text/],
    [{ defaultAction: 'A', syscalls: {} }, /syscalls is not a list/],
    [{ defaultAction: 'A', syscalls: ['x'] }, /syscalls\[0\] is no JSON object/],
    [{ defaultAction: 'A', syscalls: [{ action: 'A' }] }, /syscalls\[0\] has no names/],
    [{ defaultAction: 'A', syscalls: [{ names: ['x'] }] }, /no action/],
    [{ defaultAction: 'A', syscalls: [{ ...allow, includes: { caps: 'x' } }] }, /includes's caps is not a list/],
    [{ defaultAction: 'A', syscalls: [{ ...allow, includes: { minKernel: 'new' } }] }, /minKernel "new"/],
    [{ defaultAction: 'A', syscalls: [{ ...allow, args: [{ value: 2 ** 64 }] }] }, /args\[0\]'s value is not a whole/],
    [{ defaultAction: 'SCMP_ACT_ERRNO', defaultErrno: 'EWHAT' }, /unknown error "EWHAT"/],
    [{ defaultAction: 'A', architectures: ['x'], archMap: [{ architecture: 'y' }] }, /both architectures and archMap/],
  ];
  for (const [profile, message] of cases) {
    assert.throws(
      () => translateSeccomp(profile, place),
      (error: Error) => {
        assert.ok(error instanceof SeccompProfileError);
        assert.match(error.message, message);
        return true;
      },
    );
  }
});

test('Debian’s profile: what capabilities open, and what stays shut', () => {
  const profile: unknown = JSON.parse(readFileSync('/usr/share/containers/seccomp.json', 'utf8'));
  const allowed = (capabilities: string[]) => {
    const { syscalls = [] } = translateSeccomp(profile, { ...place, capabilities });
    return new Set(syscalls.filter(({ action }) => action === 'SCMP_ACT_ALLOW').flatMap((rule) => rule.names));
  };
  const usual = allowed(['CAP_CHOWN']);
  for (const name of ['read', 'openat2', 'clone3', 'arch_prctl']) assert.ok(usual.has(name), name);
  for (const name of ['bpf', 'kexec_load', 'settimeofday', 'init_module', 's390_runtime_instr']) {
    assert.ok(!usual.has(name), name);
  }
  const mighty = allowed(['CAP_SYS_ADMIN', 'CAP_SYS_TIME']);
  assert.ok(mighty.has('bpf') && mighty.has('settimeofday') && !mighty.has('kexec_load'));
  const { architectures, defaultErrnoRet } = translateSeccomp(profile, place);
  assert.deepEqual([architectures?.[0], defaultErrnoRet], ['SCMP_ARCH_X86_64', 38]);
});
