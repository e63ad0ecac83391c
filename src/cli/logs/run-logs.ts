/** Where the logs of containers that `berthctl run` has made without --rm are, a folder for each. */
export const runLogRoot = '/var/log/berth-run';
