/**
 * `npm run bench`: our shim beside containerd's (shim.ts has the options).
 * `npm run bench -- manager`: our daemon beside containerd's (manager.ts).
 */
if (process.argv[2] === 'manager') await import('./manager.ts');
else await import('./shim.ts');
