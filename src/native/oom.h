/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_OOM_H
#define BERTH_OOM_H

#include "failure.h"

/* cgroup v1: an eventfd, non-blocking and close-on-exec, that counts the OOM events of a memory cgroup's directory. */
int oom_eventfd(const char *directory, struct failure *);

#endif
