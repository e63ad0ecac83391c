import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { describe, it } from 'node:test';
import protobuf from 'protobufjs';
import { keepEncoded, message, optional, repeated, single } from '../../../src/wire/codec.ts';
import { bootstrap, cgroupsV1, cgroupsV2, type Codec, DecodeError, task, types } from '../../../src/wire/index.ts';
import { fuzzSeed, Random } from '../ttrpc/random.ts';

const protoFolder = new URL('../../../proto/', import.meta.url).pathname;

/** protobuf.js, working from the same .proto files by reflection: an implementation that knows nothing of ours. */
const root = new protobuf.Root();
root.resolvePath = (_origin, target) => (protobuf.common.get(target) ? target : protoFolder + target);
root.loadSync(readdirSync(protoFolder));

function allTypes(namespace: protobuf.NamespaceBase): protobuf.Type[] {
  return namespace.nestedArray.flatMap((one) => [
    ...(one instanceof protobuf.Type ? [one] : []),
    ...(one instanceof protobuf.Namespace ? allTypes(one) : []),
  ]);
}

async function codecOf(type: protobuf.Type): Promise<Codec<object>> {
  const path = type.fullName.slice(1).split('.');
  const names = path.filter((part) => /^[A-Z]/.test(part));
  const packageName = path.slice(0, path.length - names.length).join('.');
  const module = (await import(`../../../src/wire/generated/${packageName}.ts`)) as Record<string, Codec<object>>;
  return module[names.join('_')] as Codec<object>;
}

function randomValue(random: Random, field: protobuf.Field, depth: number): unknown {
  if (field.resolvedType instanceof protobuf.Type) return randomMessage(random, field.resolvedType, depth + 1);
  if (field.resolvedType) {
    const values = Object.values(field.resolvedType.values);
    return values[random.below(values.length)];
  }
  const big = () => (BigInt(random.below(2 ** 32)) << BigInt(random.below(33))) + BigInt(random.below(3));
  switch (field.type) {
    case 'string':
      return 'süß🚢'.repeat(random.below(40)).slice(random.below(2));
    case 'bytes':
      return random.bytes(random.below(200));
    case 'bool':
      return random.chance(2);
    case 'int32':
      return random.below(2 ** 32) | 0;
    case 'uint32':
      return random.below(2 ** 32);
    case 'int64':
      return BigInt.asIntN(64, random.chance(2) ? big() : -big());
    case 'uint64':
      return BigInt.asUintN(64, random.chance(9) ? -1n : big());
    case 'double':
      return random.below(1000) / 7;
    default:
      throw new Error(`no values for ${field.type}`);
  }
}

function randomMessage(random: Random, type: protobuf.Type, depth = 0): object {
  const result: Record<string, unknown> = {};
  for (const field of type.fieldsArray) {
    field.resolve();
    if (random.chance(4) || (field.resolvedType instanceof protobuf.Type && depth > 3)) continue;
    const one = () => randomValue(random, field, depth);
    const name = protobuf.util.jsonName(field.name);
    if (field instanceof protobuf.MapField) result[name] = Object.fromEntries([1, 2].map((i) => [`key ${i}`, one()]));
    else result[name] = field.repeated ? Array.from({ length: random.below(4) }, one) : one();
  }
  return result;
}

/** The message as plain text, in the words of protobuf.js: 64-bit numbers as strings, every field with its default. */
function described(type: protobuf.Type, bytes: Uint8Array): object {
  return type.toObject(type.decode(bytes), { longs: String, bytes: String, defaults: true });
}

describe('the codec', () => {
  it('writes what protobuf.js reads, and reads what it writes, for every message in proto/', async (t) => {
    const seed = fuzzSeed();
    t.diagnostic(`BERTH_FUZZ_SEED=${seed}`);
    const random = new Random(seed);
    const all = allTypes(root);
    assert.ok(all.length > 140);
    for (const type of all) {
      const codec = await codecOf(type);
      assert.equal(codec.typeName, type.fullName.slice(1));
      for (let i = 0; i < 20; i++) {
        const ours = codec.encode(randomMessage(random, type));
        const theirs = Buffer.from(type.encode(type.decode(ours)).finish());
        assert.deepEqual(described(type, codec.encode(codec.decode(theirs))), described(type, ours), type.fullName);
        assert.deepEqual(codec.decode(theirs), codec.decode(ours), type.fullName);
      }
    }
  });

  it('gives every field of an empty message its default', () => {
    assert.deepEqual(types.Mount.decode(Buffer.alloc(0)), { type: '', source: '', target: '', options: [] });
    assert.deepEqual(task.WaitResponse.decode(Buffer.alloc(0)), { exitStatus: 0, exitedAt: undefined });
    assert.deepEqual(task.UpdateTaskRequest.decode(Buffer.alloc(0)), { id: '', resources: undefined, annotations: {} });
  });

  it('writes no byte for a default, unless the field tells absence apart', () => {
    assert.equal(task.StateResponse.encode({ id: '', pid: 0, terminal: false }).length, 0);
    const { BootstrapParams } = bootstrap;
    assert.equal(BootstrapParams.decode(BootstrapParams.encode({ socketDir: '' })).socketDir, '');
    assert.equal(BootstrapParams.decode(BootstrapParams.encode({})).socketDir, undefined);
  });

  it('takes 64-bit numbers as bigint or number, and gives bigint', () => {
    const limit = 2n ** 64n - 1n;
    const { MemoryStat } = cgroupsV2;
    const decoded = MemoryStat.decode(MemoryStat.encode({ usageLimit: limit, usage: 2 ** 40, anon: 7 }));
    assert.deepEqual([decoded.usageLimit, decoded.usage, decoded.anon], [limit, 2n ** 40n, 7n]);
  });

  it('keeps negative enum values', () => {
    const bytes = bootstrap.BootstrapParams.encode({ logLevel: bootstrap.LogLevel.LOG_LEVEL_TRACE });
    assert.equal(bootstrap.BootstrapParams.decode(bytes).logLevel, -8);
  });

  it('reads lists of numbers packed or not', () => {
    const unpacked = Buffer.from('2001200220ac02', 'hex');
    assert.deepEqual(cgroupsV1.CPUUsage.decode(unpacked).perCpu, [1n, 2n, 300n]);
    assert.equal(cgroupsV1.CPUUsage.encode({ perCpu: [1, 2, 300] }).toString('hex'), '22040102ac02');
  });

  it('merges the parts of a message that comes in several, as the format asks', () => {
    interface Outer {
      inner: types.Mount | undefined;
    }
    const Outer = message<Outer>('test.Outer', () => ({ inner: single(1, () => types.Mount) }));
    const bytes = Buffer.concat([
      Outer.encode({ inner: { type: 'bind', options: ['ro'] } }),
      Outer.encode({ inner: { source: '/a', options: ['nosuid'] } }),
    ]);
    assert.deepEqual(Outer.decode(bytes).inner, { type: 'bind', source: '/a', target: '', options: ['ro', 'nosuid'] });
  });

  it('passes over fields that it does not know, of every wire type', () => {
    const unknown = Buffer.from('98060199060102030405060708a20603616263a306a8060aa406ad0601020304', 'hex');
    const bytes = Buffer.concat([unknown, task.WaitRequest.encode({ id: 'web' }), unknown]);
    assert.deepEqual(task.WaitRequest.decode(bytes), { id: 'web', execId: '' });
  });

  it('takes a known field of another wire type for an unknown one', () => {
    assert.deepEqual(task.WaitRequest.decode(Buffer.from('0805', 'hex')), { id: '', execId: '' });
  });

  it('does not let a map key change what the map is', () => {
    const annotations = JSON.parse('{"__proto__": "x", "toString": "y"}') as Record<string, string>;
    const decoded = task.UpdateTaskRequest.decode(task.UpdateTaskRequest.encode({ annotations }));
    assert.deepEqual(Object.keys(decoded.annotations), ['__proto__', 'toString']);
    assert.equal(Object.getPrototypeOf(decoded.annotations), Object.prototype);
  });

  for (const [what, hex] of [
    ['a string that ends too early', '0a05616263'],
    ['a number that does not end', '08ffffffffffffffffffffff01'],
    ['a wire type that does not exist', '0f'],
    ['a field number 0', '00'],
    ['an end of a group that never began', '0c'],
    ['a group that never ends', '0b08'],
  ]) {
    it(`refuses ${what}`, () => {
      assert.throws(() => task.StatsResponse.decode(Buffer.from(hex as string, 'hex')), DecodeError);
    });
  }

  it('refuses messages that lie too deep in each other', () => {
    interface Node {
      kids: Node[];
      weight: number | undefined;
    }
    const Node: Codec<Node> = message<Node>('test.Node', () => ({
      kids: repeated(1, () => Node),
      weight: optional(2, 'uint32'),
    }));
    let deep: Node = { kids: [], weight: 0 };
    for (let i = 0; i < 90; i++) deep = { kids: [deep], weight: undefined };
    assert.deepEqual(Node.decode(Node.encode(deep)), deep);
    for (let i = 0; i < 20; i++) deep = { kids: [deep], weight: undefined };
    assert.throws(() => Node.decode(Node.encode(deep)), /more than 100 messages deep/);
    assert.throws(() => Node.decode(Buffer.alloc(5000, 0x1b)), /groups lie more than 100 deep/);
  });
});

describe('a message that keeps its bytes', () => {
  it('is written as it would be, alone and in others, and a copy of it is made anew', () => {
    const plain = types.Mount.encode({ type: 'bind', options: ['ro'] });
    const kept = keepEncoded(types.Mount, { type: 'bind', options: ['ro'] });
    assert.deepEqual(types.Mount.encode(kept), plain);
    assert.deepEqual(
      task.CreateTaskRequest.encode({ id: 'a', rootfs: [kept, { type: 'tmpfs' }, kept] }),
      task.CreateTaskRequest.encode({ id: 'a', rootfs: [{ ...kept }, { type: 'tmpfs' }, { ...kept }] }),
    );
    assert.notDeepEqual(types.Mount.encode({ ...kept, type: 'tmpfs' }), plain);
  });
});
