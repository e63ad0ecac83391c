import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  AnyTypeError,
  DecodeError,
  fromTimestamp,
  holds,
  ociType,
  packAny,
  packJson,
  runc,
  task,
  toTimestamp,
  unpackAny,
  unpackJson,
} from '../../../src/wire/index.ts';

describe('a timestamp', () => {
  it('keeps every nanosecond', () => {
    const nanos = 1_795_190_400_123_456_789n;
    assert.deepEqual(toTimestamp(nanos), { seconds: 1_795_190_400n, nanos: 123_456_789 });
    assert.equal(fromTimestamp(toTimestamp(nanos)), nanos);
  });

  it('has positive nanos before 1970 too', () => {
    assert.deepEqual(toTimestamp(-1n), { seconds: -1n, nanos: 999_999_999 });
    assert.equal(fromTimestamp(toTimestamp(-1n)), -1n);
  });

  it('that is absent is undefined', () => assert.equal(fromTimestamp(undefined), undefined));
});

describe('an Any', () => {
  it('names its message by the bare full name, as containerd does', () => {
    const any = packAny(runc.Options, { binaryName: 'crun' });
    assert.equal(any.typeUrl, 'containerd.runc.v1.Options');
    assert.equal(unpackAny(runc.Options, any).binaryName, 'crun');
  });

  it('may have a prefix', () => {
    const { value } = packAny(runc.Options, { root: '/run/r' });
    for (const typeUrl of ['type.googleapis.com/containerd.runc.v1.Options', '/containerd.runc.v1.Options']) {
      assert.equal(unpackAny(runc.Options, { typeUrl, value }).root, '/run/r');
    }
    assert.equal(holds({ typeUrl: 'not.containerd.runc.v1.Options', value }, runc.Options), false);
  });

  it('with another message is refused, and both are named', () => {
    assert.throws(() => unpackAny(runc.Options, packAny(task.WaitRequest, {})), {
      constructor: AnyTypeError,
      message: 'expected containerd.runc.v1.Options, got containerd.task.v3.WaitRequest',
    });
    assert.throws(
      () => unpackAny(task.WaitRequest, { typeUrl: task.WaitRequest.typeName, value: Buffer.from([10]) }),
      DecodeError,
    );
  });

  it('carries OCI documents as JSON', () => {
    const process = { args: ['sh'], cwd: '/' };
    const any = packJson(ociType.process, process);
    assert.equal(any.typeUrl, 'types.containerd.io/opencontainers/runtime-spec/1/Process');
    assert.deepEqual(unpackJson(ociType.process, any), process);
    assert.throws(() => unpackJson(ociType.spec, any), AnyTypeError);
    assert.throws(() => unpackJson(ociType.spec, { typeUrl: ociType.spec, value: Buffer.from('{') }), /holds no JSON/);
  });
});
