import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Code, isRpcError } from '../../../../src/grpc/index.ts';
import { parseQuantity, podBandwidth } from '../../../../src/manager/network/bandwidth.ts';

test('quantities are read as Kubernetes reads them, and rounded up', () => {
  const expected: [string, bigint][] = [
    ['10M', 10_000_000n],
    ['+1k', 1000n],
    ['1.5Gi', 1_610_612_736n],
    ['.5k', 500n],
    ['5.', 5n],
    ['2e6', 2_000_000n],
    ['2E3', 2000n],
    ['1E', 10n ** 18n],
    ['1500m', 2n],
    ['1n', 1n],
    ['0', 0n],
    ['12e-1', 2n],
  ];
  for (const [text, value] of expected) assert.equal(parseQuantity(text), value, text);
});

test('what is no quantity is none', () => {
  for (const text of ['', 'M', '.', '-1M', '1 M', '10MB', '1K', '0x10', '1e', '1e9999', '9'.repeat(200)]) {
    assert.equal(parseQuantity(text), undefined, text);
  }
});

test('only what is limited is said, with the greatest burst', () => {
  const burst = 4_294_967_295;
  assert.equal(podBandwidth({ 'other.io/x': '1' }), undefined);
  assert.deepEqual(podBandwidth({ 'kubernetes.io/ingress-bandwidth': '1M' }), {
    ingressRate: 1_000_000,
    ingressBurst: burst,
  });
  assert.deepEqual(podBandwidth({ 'kubernetes.io/ingress-bandwidth': '1k', 'kubernetes.io/egress-bandwidth': '1P' }), {
    ingressRate: 1000,
    ingressBurst: burst,
    egressRate: 10 ** 15,
    egressBurst: burst,
  });
});

for (const wrong of ['fast', '999', '2P', '', '-5M']) {
  test(`the rate "${wrong}" is refused and named`, () => {
    assert.throws(
      () => podBandwidth({ 'kubernetes.io/egress-bandwidth': wrong }),
      (error) => isRpcError(error, Code.InvalidArgument) && error.message.includes('kubernetes.io/egress-bandwidth'),
    );
  });
}
