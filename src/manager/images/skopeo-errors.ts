import { Code, RpcError } from '../../grpc/index.ts';

/** What skopeo, its libraries and registries say, and which status that is. The first that fits decides. */
const meanings: [pattern: RegExp, code: Code, advice: string][] = [
  [/no space left on device|disk quota exceeded/i, Code.ResourceExhausted, 'free some space'],
  [
    /digest did not match|does not match (?:expected|provided)|digest mismatch|size mismatch/i,
    Code.DataLoss,
    'the registry, or what is between, gives other content than it promises',
  ],
  [
    /source image rejected|signature.*(?:required|invalid)/i,
    Code.PermissionDenied,
    'the policy (containers-policy.json) forbids it',
  ],
  [/toomanyrequests|too many requests|\b429\b/i, Code.ResourceExhausted, 'the registry asks for patience'],
  [
    /unauthorized|authentication required|invalid username\/password|incorrect username or password|\b401\b/i,
    Code.Unauthenticated,
    'check the credentials',
  ],
  [
    /access to the resource is denied|\bdenied\b|forbidden|\b403\b/i,
    Code.PermissionDenied,
    'it may not exist, or it may need credentials',
  ],
  [
    /manifest unknown|name unknown|blob unknown|repository name not known|not found|\b404\b/i,
    Code.NotFound,
    'check the name and the tag',
  ],
  [
    /server gave HTTP response to HTTPS client/i,
    Code.Unavailable,
    'where plain HTTP is wanted, mark the registry "insecure" in registries.conf',
  ],
  [/x509|certificate/i, Code.Unavailable, 'its certificate is not trusted on this machine'],
  [
    /connection refused|connection reset|no such host|server misbehaving|i\/o timeout|timeout|network is unreachable|no route to host|broken pipe|\bEOF\b|\b50[0234]\b|service unavailable|bad gateway|received unexpected HTTP status|invalid status code/i,
    Code.Unavailable,
    'check the network and the registry, and try again',
  ],
  [/unsupported|unknown.*mime|unsupported manifest/i, Code.FailedPrecondition, 'it is of a kind that cannot be run'],
];

/** The error that a failed skopeo's standard error output means. */
export function skopeoError(reference: string, output: string): RpcError {
  const said = lastMessage(output);
  // The name must not decide, whatever words are in it.
  const judged = said.replaceAll(reference, '').replaceAll(/"docker:\/\/[^"]*"/g, '');
  for (const [pattern, code, advice] of meanings) {
    if (pattern.test(judged)) return new RpcError(code, `pulling ${reference}: ${said} (${advice})`);
  }
  return new RpcError(Code.Unknown, `pulling ${reference}: ${said || 'skopeo failed and did not say why'}`);
}

/** Of logfmt lines, the text of the last that is an error; of others, the last line. */
function lastMessage(output: string): string {
  const lines = output.split('\n').filter((line) => line.trim() !== '');
  const fatal = lines.findLast((line) => /level=(?:fatal|error)/.test(line));
  const [, quoted] = /msg=("(?:[^"\\]|\\.)*")/.exec(fatal ?? '') ?? [];
  if (quoted === undefined) return (fatal ?? lines.at(-1) ?? '').slice(0, 1000);
  try {
    return (JSON.parse(quoted) as string).replace(/^Error parsing image name "[^"]*": /, '');
  } catch {
    return quoted;
  }
}
