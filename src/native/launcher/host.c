/* SPDX-License-Identifier: Apache-2.0 */
/* The JavaScript host: ../lib/node with ../lib/shim.mjs, seen from this program's own folder. */
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "launcher.h"

/* Node raises the soft limit of open descriptors to the hard one: its children shall have the one from before. */
#define OPEN_FILES "BERTH_OPEN_FILES="

/* No debugger by signal; no words on stderr; and a young generation of 1 MB, so that garbage is collected before it has
   grown the process (V8 would let 1,000 execs take 20 MB more). */
static const char *const host_flags[] = { "--disable-sigusr1", "--no-warnings", "--max-semi-space-size=1" };
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

/* The environment with BERTH_OPEN_FILES, which an earlier host may have got already; or NULL: errno. To be freed. */
static char **with_open_files(char *const *envp) {
    struct rlimit limit;
    size_t count = 0;
    while (envp[count])
        count++;
    char **all = calloc(1, (count + 2) * sizeof *all + sizeof OPEN_FILES + 20);
    if (!all)
        return NULL;
    memcpy(all, envp, count * sizeof *all);
    bool known = environment_value(envp, "BERTH_OPEN_FILES") != NULL;
    if (!known && getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
        all[count] = (char *)(all + count + 2);
        write_number(stpcpy(all[count], OPEN_FILES), (int64_t)limit.rlim_cur);
    }
    return all;
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
    char **environment = with_open_files(envp);
    if (!all || !environment) {
        free(all);
        free(environment);
        return -1;
    }
    char **next = all;
    *next++ = argv[0];
    for (size_t i = 0; i < FLAG_COUNT; i++)
        *next++ = (char *)(size_t)host_flags[i];
    *next++ = script;
    for (size_t i = 1; i < count; i++)
        *next++ = argv[i];
    execve(host, all, environment);
    int error = errno;
    free(all);
    free(environment);
    errno = error;
    return -1;
}
