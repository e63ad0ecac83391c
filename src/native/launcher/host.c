/* SPDX-License-Identifier: Apache-2.0 */
/* The JavaScript host: ../lib/node with ../lib/shim.mjs, seen from this program's own folder. */
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "launcher.h"

static const char *const host_flags[] = { "--disable-sigusr1", "--no-warnings" };
#define FLAG_COUNT (sizeof host_flags / sizeof *host_flags)

/* Writes <folder of this program>/../<rest>. 0, or -1: errno. */
static int beside(const char *rest, char *path, size_t room) {
    ssize_t length = readlink("/proc/self/exe", path, room - 1);
    if (length < 0)
        return -1;
    path[length] = '\0';
    for (int up = 0; up < 2; up++) {
        char *slash = strrchr(path, '/');
        if (slash)
            *slash = '\0';
    }
    if (strlen(path) + strlen(rest) >= room) {
        errno = ENAMETOOLONG;
        return -1;
    }
    strcat(path, rest);
    return 0;
}

int host_exec(char *const *argv, char *const *envp) {
    char host[PATH_MAX], script[PATH_MAX];
    if (beside("/lib/node", host, sizeof host) < 0 || beside("/lib/shim.mjs", script, sizeof script) < 0)
        return -1;
    /* A host without its script would start, and end: that is found out before there is no way back. */
    if (access(script, R_OK) < 0)
        return -1;
    size_t count = 0;
    while (argv[count])
        count++;
    char **all = calloc(count + FLAG_COUNT + 2, sizeof *all);
    if (!all)
        return -1;
    char **next = all;
    *next++ = argv[0];
    for (size_t i = 0; i < FLAG_COUNT; i++)
        *next++ = (char *)(size_t)host_flags[i];
    *next++ = script;
    for (size_t i = 1; i < count; i++)
        *next++ = argv[i];
    execve(host, all, envp);
    int error = errno;
    free(all);
    errno = error;
    return -1;
}
