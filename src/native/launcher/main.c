/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>

#include "launcher.h"

static bool is_named(const char *path, const char *name) {
    const char *slash = strrchr(path, '/');
    return strcmp(slash ? slash + 1 : path, name) == 0;
}

/* The command is the last argument; a container may be called "start" too. */
static bool is_start(int argc, char *const *argv) {
    return argc > 1 && strcmp(argv[argc - 1], "start") == 0;
}

int main(int argc, char **argv, char **envp) {
    if (argc < 1)
        return 1;
    /* Who inherits SIGCHLD ignored never learns how a child ended. */
    signal(SIGCHLD, SIG_DFL);
    if (is_named(argv[0], "berth-pause"))
        return pause_main(argv);
    if (is_named(argv[0], "berth-logger"))
        return logger_main(argc, argv);
    const char *keeper = environment_value(envp, "BERTH_KEEPER");
    if (keeper && strcmp(keeper, "1") == 0)
        return keeper_main(argv, envp);
    /* A shim that is upgraded in place shows its old arguments, but it is started already. */
    if (is_start(argc, argv) && !environment_value(envp, "BERTH_HANDOVER"))
        return start_main(argv, envp);
    host_exec(argv, envp);
    complain("cannot run the JavaScript host in ../lib", errno);
    return 1;
}
