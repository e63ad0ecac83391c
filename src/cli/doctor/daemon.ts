import type { Context } from '../context.ts';
import { Failure, messageOf, NotSupportedError } from '../failure.ts';
import { failure, type Finding, ok } from './finding.ts';
import type { StatePlaces } from './storage.ts';

const answerMs = 5000;

/** Whether berthd answers, and what it thinks of itself; and where it keeps things, as far as it can be asked. */
export async function checkDaemon(context: Context): Promise<{ findings: Finding[]; places: Partial<StatePlaces> }> {
  const what = 'berthd';
  try {
    const daemon = await context.daemon();
    const version = await daemon.runtime('no answer', 'Version', {}, { deadline: answerMs });
    const { status } = await daemon.runtime('no answer', 'Status', {}, { deadline: answerMs });
    const findings = [
      ok(what, `${version.runtimeName} ${version.runtimeVersion} answers on ${context.settings.socket}`),
    ];
    for (const { type, status: met, reason, message } of status?.conditions ?? []) {
      if (met) continue;
      const why = [reason, message].filter((text) => text !== '').join(': ');
      findings.push(
        failure(
          what,
          `it says that ${type} is not so: ${why}`,
          'see what is wrong above, and: journalctl -u berthd -n 50',
        ),
      );
    }
    return { findings, places: await ownPlaces(context) };
  } catch (error) {
    const next = error instanceof Failure ? error.next : undefined;
    const mend =
      next?.startsWith('try again') === true
        ? 'sudo berthctl doctor'
        : 'systemctl start berthd && journalctl -u berthd -n 50';
    return { findings: [failure(what, messageOf(error), mend)], places: {} };
  }
}

async function ownPlaces(context: Context): Promise<Partial<StatePlaces>> {
  try {
    const { root, state } = await (await context.daemon()).info({ deadline: answerMs });
    return { ...(root !== '' && { root }), ...(state !== '' && { state }) };
  } catch (error) {
    if (error instanceof NotSupportedError) return {};
    throw error;
  }
}
