/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `start`: makes the shim a process of its own session and waits for its answer. The shim writes the exit code and a newline
 * to the result pipe, then what is to be printed, and closes it; it lives on.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "launcher.h"

#define RESULT_FD 3
#define RESULT_VARIABLE "BERTH_RESULT_FD=3"

struct answer {
    bool has_code;
    int code;
    int digits;
};

static _Noreturn void become_shim(int result, char *const *argv, char *const *envp) {
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    setsid();
    if (result == RESULT_FD)
        fcntl(result, F_SETFD, 0);
    else
        dup2(result, RESULT_FD);
    size_t count = 0;
    while (envp[count])
        count++;
    char **all = calloc(count + 2, sizeof *all);
    if (all) {
        memcpy(all, envp, count * sizeof *all);
        all[count] = (char *)(size_t)RESULT_VARIABLE;
        host_exec(argv, all);
    }
    complain("cannot run the JavaScript host in ../lib", errno);
    _exit(1);
}

/* Reads "<exit code>\n"; returns how many bytes it took, or -1 when it is something else. */
static ssize_t read_code(struct answer *answer, const char *bytes, size_t length) {
    for (size_t i = 0; i < length; i++) {
        if (bytes[i] == '\n' && answer->digits > 0) {
            answer->has_code = true;
            return (ssize_t)i + 1;
        }
        if (bytes[i] < '0' || bytes[i] > '9' || ++answer->digits > 3)
            return -1;
        answer->code = answer->code * 10 + (bytes[i] - '0');
    }
    return (ssize_t)length;
}

static bool print(const char *bytes, size_t length) {
    while (length > 0) {
        ssize_t written = write(STDOUT_FILENO, bytes, length);
        if (written < 0 && errno != EINTR)
            return false;
        if (written > 0) {
            bytes += written;
            length -= (size_t)written;
        }
    }
    return true;
}

/* Passes the shim's answer on. Gives the exit code. */
static int relay(int result) {
    struct answer answer = { 0 };
    for (;;) {
        char buffer[4096];
        ssize_t length = read(result, buffer, sizeof buffer);
        if (length < 0 && errno == EINTR)
            continue;
        if (length < 0) {
            complain("cannot read the shim's answer", errno);
            return 1;
        }
        if (length == 0)
            break;
        ssize_t taken = answer.has_code ? 0 : read_code(&answer, buffer, (size_t)length);
        if (taken < 0) {
            complain("the shim's answer does not begin with an exit code", 0);
            return 1;
        }
        if (!print(buffer + taken, (size_t)(length - taken))) {
            complain("cannot pass the shim's answer on", errno);
            return 1;
        }
    }
    if (answer.has_code)
        return answer.code;
    complain("the shim ended before it could answer", 0);
    return 1;
}

int start_main(char *const *argv, char *const *envp) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0) {
        complain("cannot make a pipe", errno);
        return 1;
    }
    pid_t pid = fork();
    if (pid < 0) {
        complain("cannot fork", errno);
        return 1;
    }
    if (pid == 0)
        become_shim(ends[1], argv, envp);
    close(ends[1]);
    return relay(ends[0]);
}
