import { cri } from '../../wire/index.ts';
import { outputOptions, Printer } from '../output/format.ts';
import { messageToJson } from '../output/message-json.ts';
import { humanSize } from '../output/units.ts';
import { defineVerb } from '../verb.ts';

export const verb = defineVerb({
  operands: '',
  examples: ['berthctl imagefsinfo -o table'],
  options: outputOptions,
  async run({ context, options }) {
    const printer = await Printer.of(options, context.stdout, 'json');
    const daemon = await context.daemon();
    const answer = await daemon.images('cannot ask for the space images take', 'ImageFsInfo', {});
    if (printer.isTable) {
      const { containerFilesystems, imageFilesystems } = answer;
      context.stdout.write(`${paragraph('Container', containerFilesystems)}${paragraph('Image', imageFilesystems)}`);
    } else {
      await printer.statuses([{ status: messageToJson(cri.ImageFsInfoResponse, answer) }]);
    }
    return undefined;
  },
});

function paragraph(title: string, filesystems: readonly cri.FilesystemUsage[]): string {
  const lines = filesystems.flatMap(({ timestamp, usedBytes, inodesUsed, fsId }, at) => [
    `TimeStamp[${at}]: ${timestamp.toString()}\n`,
    `Disk[${at}]: ${humanSize(usedBytes?.value ?? 0n)}\n`,
    `Inodes[${at}]: ${(inodesUsed?.value ?? 0n).toString()}\n`,
    `Mountpoint[${at}]: ${fsId?.mountpoint ?? ''}\n`,
  ]);
  return `${title} Filesystem\n${lines.join('')}`;
}
