import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Code, isRpcError } from '../../../../src/grpc/index.ts';
import { mapField, parseFilters } from '../../../../src/manager/services/filter.ts';
import { messageField } from '../../../../src/manager/services/message-field.ts';
import { events, packAny } from '../../../../src/wire/index.ts';

interface Thing {
  name: string;
  other?: string;
  labels?: Record<string, string>;
}

const things: Thing[] = [
  { name: 'foo', labels: { foo: 'true' } },
  { name: 'bar' },
  { name: 'foo', labels: { foo: 'present', 'more complex label': 'present' } },
  { name: 'bar', labels: { bar: 'true', empty: '' } },
  { name: 'fooer', labels: { 'a \\ and ".post': 'present' } },
  { name: 'baz', other: 'too complex, yo' },
  { name: 'bazo', other: 'abc' },
  { name: 'compound', labels: { foo: 'omg_asdf.asdf-qwer' } },
];

function matching(...filters: string[]): number[] {
  const fits = parseFilters(filters);
  return things.flatMap((thing, index) => {
    const field = ([name, ...rest]: readonly string[]) =>
      name === 'name'
        ? thing.name
        : name === 'other'
          ? thing.other
          : name === 'labels'
            ? mapField(thing.labels ?? {}, rest)
            : undefined;
    return fits(field) ? [index] : [];
  });
}

const everything = things.map((_, index) => index);

test('no filter, and an empty one, let everything through', () => {
  assert.deepEqual(matching(), everything);
  assert.deepEqual(matching(''), everything);
});

test('a path alone asks for what has the field, even an empty one', () => {
  assert.deepEqual(matching('name'), everything);
  assert.deepEqual(matching('labels.foo'), [0, 2, 7]);
  assert.deepEqual(matching('labels.empty'), [3]);
  assert.deepEqual(matching('labels."more complex label"'), [2]);
});

test('== and != compare; what has no such field is unequal', () => {
  assert.deepEqual(matching('name==bar'), [1, 3]);
  assert.deepEqual(matching('labels.foo==true'), [0]);
  assert.deepEqual(matching('labels.foo==omg_asdf.asdf-qwer'), [7]);
  assert.deepEqual(matching('labels.foo!=true'), [1, 2, 3, 4, 5, 6, 7]);
  assert.deepEqual(matching('other=="too complex, yo"'), [5]);
  assert.deepEqual(matching('labels."a \\\\ and \\"".post==present'), [4]);
});

test('~= searches, with quotes that suit regular expressions', () => {
  assert.deepEqual(matching('other~=[abc]+,name!=foo'), [5, 6]);
  assert.deepEqual(matching('other~=/^[abc]{1,3}$/'), [6]);
  assert.deepEqual(matching('other~=|^abc|'), [6]);
  assert.deepEqual(matching('name~="(?i)^FOO"'), [0, 2, 4]);
  assert.deepEqual(matching('name~=/^\\\\w{3}$/'), [0, 1, 2, 3, 5]);
});

test('a comma means and, several filters mean or; blanks may stand before fields, operators and values', () => {
  assert.deepEqual(matching('name==foo,labels.foo==present'), [2]);
  assert.deepEqual(matching('name==baz', 'name==bazo'), [5, 6]);
  assert.deepEqual(matching(' name == foo, labels.foo == true'), [0]);
});

test('escapes are those of Go', () => {
  const fits = (filter: string, value: string) => parseFilters([filter])(() => value);
  assert.ok(fits('x=="\\a\\b\\f\\n\\r\\t\\v\\\\"', '\x07\b\f\n\r\t\v\\'));
  assert.ok(fits('x=="\\x41\\102\\u00e4\\U0001F600"', 'ABä😀'));
  assert.ok(fits('x=="\\xc3\\xa4"', 'ä'));
});

test('what is no filter is refused, with the place', () => {
  const wrong = {
    'name==foo,': 'at its end: expected a field',
    'labels.': 'at its end: expected a field',
    'labels.?x': 'at "?x": expected a field',
    'image~=,id': 'at ",id": expected a value',
    'name=foo': 'at "=foo": expected an operator',
    'name===foo': 'at "===foo": expected an operator',
    'name foo': 'at "foo": expected an operator',
    'name==foo bar': 'at " bar": expected "," or the end',
    'labels.ns/key==value': 'at "/key==value"',
    'labels.|foo|==x': 'cannot stand here',
    'topic==/tasks/exit': 'cannot stand here',
    'labels.key=="value': 'these quotes have no end',
    'x=="\\d"': 'this escape sequence is not known',
    'x=="\\777"': 'this escape sequence is not known',
    'x~="("': 'filter x~="("',
  };
  for (const [filter, what] of Object.entries(wrong)) {
    assert.throws(
      () => parseFilters([filter]),
      (error: Error) => isRpcError(error, Code.InvalidArgument) && error.message.includes(what),
      filter,
    );
  }
});

test("a field of an event's message is found by its name in the .proto file", () => {
  const create = packAny(events.TaskCreate, { containerId: 'c', pid: 5, io: { stdout: '/o', terminal: true } });
  assert.equal(messageField(create, ['container_id']), 'c');
  assert.equal(messageField(create, ['io', 'stdout']), '/o');
  assert.equal(messageField(create, ['io', 'terminal']), 'true');
  assert.equal(messageField(create, ['io', 'stdin']), undefined);
  assert.equal(messageField(create, ['pid']), undefined);
  assert.equal(messageField(create, ['constructor', 'name']), undefined);
  assert.equal(messageField({ typeUrl: 'x.Y', value: Buffer.alloc(0) }, ['id']), undefined);
});
