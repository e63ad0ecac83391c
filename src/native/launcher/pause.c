/* SPDX-License-Identifier: Apache-2.0 */
/* `berth-pause`: the first process of a sandbox. It holds the namespaces, and as pid 1 it reaps. */
#define _GNU_SOURCE
#include <signal.h>
#include <stddef.h>
#include <sys/wait.h>

#include "launcher.h"

int pause_main(void) {
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
