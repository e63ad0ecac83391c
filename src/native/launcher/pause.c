/* SPDX-License-Identifier: Apache-2.0 */
/* `berth-pause [HOSTNAME]`: the first process of a sandbox. It holds the namespaces, and as pid 1 it reaps. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "launcher.h"

int pause_main(char *const *argv) {
    /* The UTS namespace is the sandbox's own. */
    if (argv[0] && argv[1] && sethostname(argv[1], strlen(argv[1])) < 0)
        complain("sethostname", errno);
    /* Blocked, so that the kernel queues them for a pid 1 too, which it spares what is not handled. */
    sigset_t awaited;
    sigemptyset(&awaited);
    sigaddset(&awaited, SIGCHLD);
    sigaddset(&awaited, SIGINT);
    sigaddset(&awaited, SIGTERM);
    sigprocmask(SIG_SETMASK, &awaited, NULL);
    for (;;) {
        while (waitpid(-1, NULL, WNOHANG) > 0)
            ;
        siginfo_t info;
        int signal = sigwaitinfo(&awaited, &info);
        if (signal == SIGINT || signal == SIGTERM)
            return 0;
    }
}
