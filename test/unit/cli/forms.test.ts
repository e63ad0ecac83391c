import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { messageFromJson } from '../../../src/cli/config/message-from-json.ts';
import { messageToJson, protoName } from '../../../src/cli/output/message-json.ts';
import { formatTable, shortId } from '../../../src/cli/output/table.ts';
import { humanDuration, humanSize } from '../../../src/cli/output/units.ts';
import { parseDuration, parseMoment, rfc3339 } from '../../../src/cli/time.ts';
import { cri } from '../../../src/wire/index.ts';

describe('sizes', () => {
  for (const [bytes, digits, expected] of [
    [0, 4, '0B'],
    [999, 3, '999B'],
    [999.6, 3, '1kB'],
    [2_223_686, 3, '2.22MB'],
    [12_345_678, 4, '12.35MB'],
    [1_500_000_000_000, 3, '1.5TB'],
    [18_446_744_073_709_551_615n, 4, '18.45EB'],
  ] as const) {
    it(`${bytes} bytes are ${expected}`, () => assert.equal(humanSize(bytes, digits), expected));
  }
});

describe('time spans', () => {
  const hour = 3600;
  for (const [seconds, expected] of [
    [0.5, 'Less than a second'],
    [1, '1 second'],
    [59, '59 seconds'],
    [60, 'About a minute'],
    [180, '3 minutes'],
    [50 * 60, '50 minutes'],
    [hour, 'About an hour'],
    [2 * hour + 60, '2 hours'],
    [47 * hour, '47 hours'],
    [72 * hour, '3 days'],
    [15 * 24 * hour, '2 weeks'],
    [90 * 24 * hour, '3 months'],
    [800 * 24 * hour, '2 years'],
  ] as const) {
    it(`${seconds} seconds are "${expected}"`, () => assert.equal(humanDuration(seconds * 1000), expected));
  }

  it('are read as Go writes them, and as seconds', () => {
    assert.deepEqual(['1m30s', '250ms', '1.5h', '7', '-2s', '1x', '', 's'].map(parseDuration), [
      90_000,
      250,
      5_400_000,
      7000,
      -2000,
      undefined,
      undefined,
      undefined,
    ]);
  });

  it('are told from moments', () => {
    const now = Date.parse('2026-11-21T12:00:00Z');
    assert.equal(parseMoment('10m', now), now - 600_000);
    assert.equal(parseMoment('1700000000', now), 1_700_000_000_000);
    assert.equal(parseMoment('2026-11-21T10:00:00.5Z', now), Date.parse('2026-11-21T10:00:00.5Z'));
    assert.equal(parseMoment('2026-11-21', now), new Date(2026, 10, 21).getTime());
    assert.equal(parseMoment('2026-11-21T10', now), new Date(2026, 10, 21, 10).getTime());
    assert.equal(parseMoment('yesterday', now), undefined);
  });

  it('begin at a moment that is written with all its nanoseconds', () => {
    assert.equal(Date.parse(rfc3339(1_700_000_000_123_456_000n)), 1_700_000_000_123);
    assert.match(rfc3339(1_700_000_000_123_456_000n), /\.123456(Z|[+-])/);
    assert.match(rfc3339(1_700_000_000_000_000_000n), /:\d\d(Z|[+-])/);
    assert.equal(rfc3339(undefined), '0001-01-01T00:00:00Z');
  });
});

describe('a table', () => {
  it('has columns at least 20 wide, and no blanks at the end of a line', () => {
    assert.equal(
      formatTable([
        ['A', 'B'],
        ['a'.repeat(30), 'ü'],
      ]),
      `A${' '.repeat(32)}B\n${'a'.repeat(30)}   ü\n`,
    );
    assert.equal(shortId('sha256:0123456789abcdef'), '0123456789abc');
  });
});

describe('a message as JSON', () => {
  it('has defaults and empty lists, but not what is absent', () => {
    const json = messageToJson(cri.NamespaceOption, cri.NamespaceOption.decode(Buffer.alloc(0)));
    assert.deepEqual(json, { network: 'POD', pid: 'POD', ipc: 'POD', targetId: '' });
    const mount = messageToJson(cri.Mount, cri.Mount.decode(Buffer.alloc(0)));
    assert.deepEqual([mount['uidMappings'], 'image' in mount], [[], false]);
  });

  it('shows the number of an enum that has no name', () => {
    assert.deepEqual(messageToJson(cri.PodSandboxStateValue, { state: 9 as cri.PodSandboxState }), { state: 9 });
  });

  it('comes back the same', () => {
    const config = cri.PodSandboxConfig.decode(
      cri.PodSandboxConfig.encode({
        metadata: { name: 'n', namespace: 'd', attempt: 4 },
        labels: { a: 'b' },
        portMappings: [{ protocol: cri.Protocol.UDP, hostPort: 53 }],
        linux: { securityContext: { runAsUser: { value: 7n }, supplementalGroups: [1n, 2n] } },
      }),
    );
    for (const names of ['json', 'proto'] as const) {
      const json = messageToJson(cri.PodSandboxConfig, config, { names });
      const unknown: string[] = [];
      const back = messageFromJson(cri.PodSandboxConfig, json, (place) => unknown.push(place));
      assert.deepEqual(cri.PodSandboxConfig.encode(back), cri.PodSandboxConfig.encode(config));
      assert.deepEqual(unknown, []);
    }
  });

  it('has the names of the .proto file when that is asked for', () => {
    assert.equal(protoName('recursiveReadOnlyMounts'), 'recursive_read_only_mounts');
    const unknown: string[] = [];
    const devices = { CDI_devices: [{ name: 'gpu' }] };
    assert.equal(
      messageFromJson(cri.ContainerConfig, devices, (place) => unknown.push(place)).CDIDevices?.[0]?.name,
      'gpu',
    );
    assert.deepEqual(unknown, []);
  });

  it('is refused with the place of what is wrong', () => {
    const read = (json: unknown) => messageFromJson(cri.PodSandboxConfig, json, () => undefined);
    assert.throws(() => read([]), /the file must be an object, not a list/);
    assert.throws(() => read({ labels: { a: 1 } }), /labels\.a must be a text, not 1/);
    assert.throws(
      () => read({ port_mappings: [{ protocol: 'SMTP' }] }),
      /port_mappings\[0\]\.protocol must be one of TCP, UDP, SCTP, not "SMTP"/,
    );
    assert.throws(
      () => read({ linux: { security_context: { privileged: 'yes' } } }),
      /privileged must be true or false/,
    );
  });
});
