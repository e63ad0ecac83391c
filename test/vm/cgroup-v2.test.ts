import assert from 'node:assert/strict';
import { test } from 'node:test';
import { buildGuestTests } from './guest-tests.ts';
import { kernelImage } from './kernel.ts';
import { VirtualMachine } from './machine.ts';

/** More than the machine takes for itself; the rest is for fetching its kernel the first time. */
const timeout = 900_000;

test('the shim on a machine with cgroup v2 alone', { timeout }, async (t) => {
  await buildGuestTests();
  await using machine = await VirtualMachine.boot(await kernelImage());
  let ran = 0;
  let failed = 0;
  for await (const { names, milliseconds, failure } of machine.results()) {
    ran++;
    if (failure !== '') failed++;
    await t.test(`${names.join(': ')} (${milliseconds} ms there)`, () => {
      if (failure !== '') throw new Error(failure);
    });
  }
  assert.ok(
    ran > 0 && failed === 0,
    `${failed} of ${ran} tests in the virtual machine failed. ${machine.endOfConsole}`,
  );
});
