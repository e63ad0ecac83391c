#!/bin/sh
# Runs ../lib/PROGRAM.mjs on ../lib/node, seen from this file's own folder, however it is reached.
self=$0
[ ! -L "$self" ] || self=$(readlink -f -- "$self") || exit 127
lib=${self%/*}/../lib
# Node raises the soft limit of open files to the hard one; containers shall have what there was before.
limit=$(ulimit -Sn)
[ "$limit" = unlimited ] || export BERTH_OPEN_FILES="${BERTH_OPEN_FILES:-$limit}"
# No debugger by signal, and no words about experiments on stderr.
exec "$lib/node" --disable-sigusr1 --disable-warning=ExperimentalWarning "$lib/PROGRAM.mjs" "$@"
