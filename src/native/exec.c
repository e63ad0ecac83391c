/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "exec.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC (1U << 2)
#endif

#define FIRST_NOT_STANDARD 3

struct saved {
    int fd;
    int flags;
};

struct descriptors {
    struct saved *all;
    size_t count;
};

static int remember(struct descriptors *descriptors) {
    DIR *folder = opendir("/proc/self/fd");
    if (!folder)
        return -1;
    size_t room = 0;
    struct dirent *entry;
    while ((entry = readdir(folder))) {
        int fd = atoi(entry->d_name);
        int flags = entry->d_name[0] == '.' || fd == dirfd(folder) ? -1 : fcntl(fd, F_GETFD);
        if (flags < 0)
            continue;
        if (descriptors->count == room) {
            room = room ? room * 2 : 64;
            struct saved *all = realloc(descriptors->all, room * sizeof *all);
            if (!all) {
                closedir(folder);
                errno = ENOMEM;
                return -1;
            }
            descriptors->all = all;
        }
        descriptors->all[descriptors->count++] = (struct saved){ fd, flags };
    }
    closedir(folder);
    return 0;
}

static void restore(const struct descriptors *descriptors) {
    for (size_t i = 0; i < descriptors->count; i++)
        fcntl(descriptors->all[i].fd, F_SETFD, descriptors->all[i].flags);
}

static int keep_only(const int *keep, size_t count, struct failure *failure) {
    if (syscall(SYS_close_range, FIRST_NOT_STANDARD, ~0U, CLOSE_RANGE_CLOEXEC) < 0)
        return fail(failure, errno, "close_range", NULL);
    for (int fd = 0; fd < FIRST_NOT_STANDARD; fd++)
        fcntl(fd, F_SETFD, 0);
    for (size_t i = 0; i < count; i++) {
        if (fcntl(keep[i], F_SETFD, 0) < 0)
            return fail(failure, errno, "fcntl", NULL);
    }
    return 0;
}

static const int fatal_while_starting[] = { SIGHUP, SIGINT, SIGTERM, SIGUSR2 };
#define FATAL_COUNT (sizeof fatal_while_starting / sizeof *fatal_while_starting)

struct signals {
    sigset_t mask;
    struct sigaction actions[FATAL_COUNT];
};

static void set_signals_for_exec(struct signals *before) {
    struct sigaction ignored = { .sa_handler = SIG_IGN };
    for (size_t i = 0; i < FATAL_COUNT; i++)
        sigaction(fatal_while_starting[i], &ignored, &before->actions[i]);
    sigset_t none;
    sigemptyset(&none);
    pthread_sigmask(SIG_SETMASK, &none, &before->mask);
}

static void restore_signals(const struct signals *before) {
    pthread_sigmask(SIG_SETMASK, &before->mask, NULL);
    for (size_t i = 0; i < FATAL_COUNT; i++)
        sigaction(fatal_while_starting[i], &before->actions[i], NULL);
}

int exec_in_place(const char *file, char *const *argv, char *const *envp, const int *keep, size_t count,
                  struct failure *failure) {
    struct descriptors descriptors = { NULL, 0 };
    if (remember(&descriptors) < 0) {
        int error = errno;
        free(descriptors.all);
        return fail(failure, error, "open", "/proc/self/fd");
    }
    struct signals signals;
    set_signals_for_exec(&signals);
    if (keep_only(keep, count, failure) == 0) {
        execve(file, argv, envp);
        fail(failure, errno, "execve", file);
    }
    restore_signals(&signals);
    restore(&descriptors);
    free(descriptors.all);
    return -1;
}
