import { checkCgroups, cgroupLayout } from '../doctor/cgroups.ts';
import { checkDaemon } from '../doctor/daemon.ts';
import type { Finding } from '../doctor/finding.ts';
import { type Host, realHost } from '../doctor/host.ts';
import { checkKernel } from '../doctor/kernel.ts';
import { checkNetwork } from '../doctor/network.ts';
import { checkImageTools, checkRuntimes } from '../doctor/runtimes.ts';
import { checkSecurity } from '../doctor/security.ts';
import { checkStorage } from '../doctor/storage.ts';
import { ExitCode } from '../exit-codes.ts';
import { outputOptions, Printer } from '../output/format.ts';
import { defineVerb } from '../verb.ts';

/** What a shell searches, and what root's has besides. */
const systemPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

export const verb = defineVerb({
  operands: '',
  details: `Looks at kernel, rights, cgroups, OCI runtime, network, image tools, seccomp, storage and berthd, and says for each what is wrong and
the command that mends it. Works without berthd, and changes nothing. Exit code 1 when something fails; warnings are no failure.`,
  examples: ['berthctl doctor', 'berthctl doctor -o json'],
  options: {
    root: { type: 'text', value: 'FOLDER', help: "berthd's content (default: what berthd says, or /var/lib/berth)" },
    state: { type: 'text', value: 'FOLDER', help: "berthd's state (default: what berthd says, or /run/berth)" },
    'cni-conf-dir': { type: 'text', value: 'FOLDER', help: 'default /etc/cni/net.d' },
    'cni-bin-dir': { type: 'list', value: 'FOLDER', help: 'default /opt/cni/bin and /usr/lib/cni' },
    ...outputOptions,
  },
  async run({ context, options }) {
    const printer = await Printer.of(options, context.stdout, 'table');
    const host = realHost(`${context.environment['PATH'] ?? ''}:${systemPath}`);
    const daemon = await checkDaemon(context);
    const binDirs = options['cni-bin-dir'];
    const findings = [
      ...(await checkMachine(host, {
        root: options.root ?? daemon.places.root ?? '/var/lib/berth',
        state: options.state ?? daemon.places.state ?? '/run/berth',
        socket: context.settings.socket,
        confDir: options['cni-conf-dir'] ?? '/etc/cni/net.d',
        binDirs: binDirs.length > 0 ? binDirs : ['/opt/cni/bin', '/usr/lib/cni'],
      })),
      ...daemon.findings,
    ];
    const failures = findings.filter(({ verdict }) => verdict === 'failure').length;
    if (printer.isTable) context.stdout.write(report(findings, failures));
    else await printer.json(findings.map((finding) => ({ ...finding })));
    return failures > 0 ? ExitCode.Failure : ExitCode.Success;
  },
});

type Places = Parameters<typeof checkStorage>[1] & Parameters<typeof checkNetwork>[1];

/** All that can be seen without berthd. */
async function checkMachine(host: Host, places: Places): Promise<Finding[]> {
  const layout = await cgroupLayout(host);
  const checks = [
    checkKernel(host),
    Promise.resolve(checkCgroups(layout)),
    checkRuntimes(host, layout),
    checkNetwork(host, places),
    checkImageTools(host),
    checkSecurity(host),
    checkStorage(host, places),
  ];
  return (await Promise.all(checks)).flat();
}

const marks = { ok: 'ok  ', warning: 'WARN', failure: 'FAIL' } as const;

function report(findings: readonly Finding[], failures: number): string {
  const lines = findings.map(({ what, verdict, says, mend }) => {
    const line = `${marks[verdict]}  ${what.padEnd(11)}  ${says}\n`;
    return mend === undefined ? line : `${line}      mend:        ${mend}\n`;
  });
  const end =
    failures === 0
      ? 'Nothing stands in the way.'
      : `${failures} ${failures === 1 ? 'thing stands' : 'things stand'} in the way.`;
  return `${lines.join('')}\n${end}\n`;
}
