import { after, afterEach, before } from 'node:test';
import { BerthdBed, type BerthdBedOptions, hasFailed } from './berthd-bed.ts';

/**
 * One bed for all tests of a suite, which is to be called in the suite's body; closed, with its look for leftovers, when they have run.
 * The daemon's log is shown after each test that has failed.
 *
 * @example
 * describe('a pod', () => {
 *   const bed = sharedBed();
 *   test('can be run', async () => { await bed().cri.runPod('one'); });
 * });
 */
export function sharedBed(options: BerthdBedOptions = {}): () => BerthdBed {
  let bed: BerthdBed | undefined;
  const opened = () => {
    if (bed === undefined) throw new Error('the bed is open while the tests of its suite run');
    return bed;
  };
  before(async () => {
    bed = await BerthdBed.open(undefined, options);
  });
  afterEach((t) => {
    if ('assert' in t && hasFailed(t)) bed?.showLog();
  });
  after(async () => {
    await bed?.close();
  });
  return opened;
}
