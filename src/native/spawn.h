/* SPDX-License-Identifier: Apache-2.0 */
/* Starts a program with an explicit table of descriptors. Knows nothing of Node-API, so that C programs can use it. */
#ifndef BERTH_SPAWN_H
#define BERTH_SPAWN_H

#include <stddef.h>
#include <sys/types.h>

#include "failure.h"

struct spawn_request {
    const char *file; /* path of the program: PATH is not searched */
    char *const *argv;
    char *const *envp;
    const char *cwd; /* or NULL: the caller's */
    const int *fds;  /* index: descriptor in the child; value: the caller's, or -1 for /dev/null. All others are closed */
    size_t fd_count;
    int new_session;
    int parent_death_signal; /* 0: none */
    unsigned long clone_flags;
    const int *namespaces; /* descriptors, entered in this order */
    size_t namespace_count;
    const char *const *cgroups; /* directories */
    size_t cgroup_count;
    unsigned long open_files; /* soft limit of open descriptors, at most the hard one; 0: the caller's */
    const int *oom_score_adj; /* or NULL: unchanged. That the kernel refuses it is no error */
};

/*
 * The child's pid once it runs the program; or -1 with the failed call. A child whose exec failed is reaped here, and no
 * other waitid(P_ALL) without __WALL can see it. The caller is suspended until exec.
 */
pid_t spawn_process(const struct spawn_request *, struct failure *);

#endif
