/* SPDX-License-Identifier: Apache-2.0 */
/* What went wrong, and in which of several system calls. The strings are constants or belong to the call's arguments. */
#ifndef BERTH_FAILURE_H
#define BERTH_FAILURE_H

struct failure {
    int error; /* errno */
    const char *syscall;
    const char *path; /* or NULL */
};

/* Always -1, so that a function can end with it. */
static inline int fail(struct failure *failure, int error, const char *syscall, const char *path) {
    failure->error = error;
    failure->syscall = syscall;
    failure->path = path;
    return -1;
}

#endif
