import { runProgram } from './program.ts';
import { sinkOf } from './standard-streams.ts';

const surroundings = {
  stdout: sinkOf(process.stdout),
  stderr: sinkOf(process.stderr),
  stdin: () => process.stdin,
  environment: process.env,
};

void runProgram(process.argv.slice(2), surroundings).then((exitCode) => process.exit(exitCode));
