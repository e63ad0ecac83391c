/* SPDX-License-Identifier: Apache-2.0 */
/* The numbers and variables by which the shim and its keeper tell each other things. */
#ifndef BERTH_KEEPER_TEXT_H
#define BERTH_KEEPER_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pump.h"

/* Reads a decimal number and the separator after it (',' or ':'), and moves on. False at the end or at anything else. */
bool read_number(const char **text, int64_t *number);

/*
 * The environment for the host: the keeper's own without what was meant for the keeper, with what the host must know.
 * NULL: errno.
 */
char **host_environment(char *const *envp, int pump, const char *woken_by, int64_t woken_at, int64_t ended_child,
                        const struct pump_event *events, size_t count);
void free_host_environment(char **envp);

#endif
