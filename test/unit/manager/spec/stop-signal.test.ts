import assert from 'node:assert/strict';
import { test } from 'node:test';
import { stopSignalOf } from '../../../../src/manager/spec/index.ts';
import { signalNumber } from '../../../../src/manager/spec/stop-signal.ts';
import { cri } from '../../../../src/wire/index.ts';
import { containerConfig, imageConfig } from './configs.ts';

test('signals are meant by name or number', () => {
  const cases: Record<string, number | undefined> = {
    SIGTERM: 15,
    term: 15,
    QUIT: 3,
    '9': 9,
    '37': 37,
    RTMIN: 34,
    'SIGRTMIN+3': 37,
    'RTMAX-14': 50,
    SIGRTMAX: 64,
    SIGCLD: 17,
    SIGPOLL: 29,
    '': undefined,
    '0': undefined,
    '65': undefined,
    '-9': undefined,
    'RTMIN+31': undefined,
    'RTMIN-1': undefined,
    'SIGRTMAX+1': undefined,
    SIGNOTHING: undefined,
    constructor: undefined,
    '15\n': undefined,
  };
  for (const [text, number] of Object.entries(cases)) assert.equal(signalNumber(text), number, JSON.stringify(text));
});

test('the request’s signal comes before the image’s, and an image’s nonsense is SIGTERM', () => {
  const of = (signal: cri.Signal, image: string) =>
    stopSignalOf(containerConfig({ stopSignal: signal }), imageConfig({ stopSignal: image }));
  assert.equal(of(cri.Signal.SIGUSR1, 'SIGQUIT'), 10);
  assert.equal(of(cri.Signal.RUNTIME_DEFAULT, 'SIGQUIT'), 3);
  assert.equal(of(cri.Signal.RUNTIME_DEFAULT, ''), 15);
  assert.equal(of(cri.Signal.RUNTIME_DEFAULT, '$(reboot)'), 15);
});

test('each signal of CRI has a number', () => {
  const numbers = Object.entries(cri.Signal).map(([name, stopSignal]) => {
    const number = stopSignalOf(containerConfig({ stopSignal }), imageConfig({ stopSignal: '1' }));
    return [name, number] as const;
  });
  assert.deepEqual(
    numbers.filter(([name, number]) => number === 1 && name !== 'SIGHUP' && name !== 'RUNTIME_DEFAULT'),
    [],
  );
  assert.equal(new Map(numbers).get('SIGRTMINPLUS15'), 49);
  assert.equal(new Map(numbers).get('SIGRTMAXMINUS14'), 50);
});
