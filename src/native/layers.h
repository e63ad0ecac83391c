/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_LAYERS_H
#define BERTH_LAYERS_H

#include <stddef.h>

#include "failure.h"

/*
 * Looks paths up in what the layers of an image make together (topmost first), with that as the root: no link and no
 * ".." leads out of it. fds[i] becomes a descriptor that only names the file (O_PATH: nothing is opened, so that
 * neither a FIFO nor a device notices), or -1 where the image has no such file. Several layers are put together by an
 * overlay in a mount namespace of a thread's own, which ends with the thread: nothing is left behind, whatever happens.
 */
int layers_find(const char *const *layers, size_t layer_count, const char *const *paths, size_t path_count, int *fds,
                struct failure *);

#endif
