/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_EXEC_H
#define BERTH_EXEC_H

#include <stddef.h>

#include "failure.h"

/*
 * Replaces this process's program; 0, 1, 2 and the listed descriptors stay open, all others are closed. Returns only when
 * that fails, and then all is as it was before.
 *
 * SIGHUP, SIGINT, SIGTERM and SIGUSR2 are ignored in the new program until it says otherwise: one that comes while it starts
 * would else end it. (Node undoes that early in its start: it is a short protection there.) No signal is blocked.
 */
int exec_in_place(const char *file, char *const *argv, char *const *envp, const int *keep, size_t count, struct failure *);

#endif
