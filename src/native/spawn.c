/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* The child runs on a stack of its own that the sanitizer does not know, and in memory that is not its own. */
#define CHILD_CODE __attribute__((no_sanitize("address"), no_sanitize("undefined")))

#define KERNEL_SIGNAL_SET_BYTES 8
#define STACK_BYTES (64 * 1024)

struct child {
    const struct spawn_request *request;
    struct failure *failure; /* the parent's: memory is shared */
    int *sources;            /* room for fd_count numbers */
    char oom_score_adj[16];
};

static CHILD_CODE int child_failed(struct child *child, const char *syscall, const char *path) {
    return fail(child->failure, errno, syscall, path);
}

static CHILD_CODE int write_file_at(int directory, const char *name, const char *text, size_t length) {
    int fd = openat(directory, name, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    ssize_t written = write(fd, text, length);
    int error = errno;
    close(fd);
    errno = error;
    return written < 0 ? -1 : 0;
}

static CHILD_CODE int enter_cgroup(struct child *child, const char *path) {
    int directory = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0)
        return child_failed(child, "open", path);
    if (write_file_at(directory, "cgroup.procs", "0", 1) < 0)
        return child_failed(child, "cgroup.procs", path);
    close(directory);
    return 0;
}

/* Handlers end with exec by themselves; what is ignored would stay ignored. */
static CHILD_CODE void reset_signals(void) {
    struct sigaction by_default;
    memset(&by_default, 0, sizeof by_default);
    by_default.sa_handler = SIG_DFL;
    for (int number = 1; number < NSIG; number++)
        sigaction(number, &by_default, NULL);
}

/* Sources are first moved above the table, so that no slot that is filled can be a source that is still wanted. */
static CHILD_CODE int arrange_descriptors(struct child *child) {
    const struct spawn_request *request = child->request;
    int count = (int)request->fd_count;
    int null = -1;
    for (int i = 0; i < count; i++) {
        int source = request->fds[i];
        if (source < 0 && null < 0) {
            null = open("/dev/null", O_RDWR | O_CLOEXEC);
            if (null >= 0 && null < count)
                null = fcntl(null, F_DUPFD_CLOEXEC, count);
            if (null < 0)
                return child_failed(child, "open", "/dev/null");
        }
        if (source < 0)
            source = null;
        else if (source < count)
            source = fcntl(source, F_DUPFD_CLOEXEC, count);
        if (source < 0)
            return child_failed(child, "fcntl", NULL);
        child->sources[i] = source;
    }
    for (int i = 0; i < count; i++) {
        if (dup2(child->sources[i], i) < 0)
            return child_failed(child, "dup2", NULL);
    }
    if (syscall(SYS_close_range, (unsigned)count, ~0U, 0U) < 0)
        return child_failed(child, "close_range", NULL);
    return 0;
}

static CHILD_CODE int limit_open_files(struct child *child) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return child_failed(child, "getrlimit", NULL);
    limit.rlim_cur = child->request->open_files < limit.rlim_max ? child->request->open_files : limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        return child_failed(child, "setrlimit", NULL);
    return 0;
}

static CHILD_CODE int become_program(struct child *child) {
    const struct spawn_request *request = child->request;
    reset_signals();
    if (request->new_session && setsid() < 0)
        return child_failed(child, "setsid", NULL);
    for (size_t i = 0; i < request->cgroup_count; i++) {
        if (enter_cgroup(child, request->cgroups[i]) < 0)
            return -1;
    }
    if (request->oom_score_adj)
        write_file_at(AT_FDCWD, "/proc/self/oom_score_adj", child->oom_score_adj, strlen(child->oom_score_adj));
    for (size_t i = 0; i < request->namespace_count; i++) {
        if (setns(request->namespaces[i], 0) < 0)
            return child_failed(child, "setns", NULL);
    }
    if (request->cwd && chdir(request->cwd) < 0)
        return child_failed(child, "chdir", request->cwd);
    if (arrange_descriptors(child) < 0)
        return -1;
    if (request->open_files && limit_open_files(child) < 0)
        return -1;
    if (request->parent_death_signal && prctl(PR_SET_PDEATHSIG, request->parent_death_signal) < 0)
        return child_failed(child, "prctl", NULL);
    uint64_t none = 0;
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, NULL, KERNEL_SIGNAL_SET_BYTES);
    execve(request->file, request->argv, request->envp);
    return child_failed(child, "execve", request->file);
}

static CHILD_CODE int child_main(void *argument) {
    become_program(argument);
    _exit(127);
}

/*
 * The child has no exit signal until exec gives it SIGCHLD (the kernel does that): so one that fails before is invisible
 * to the reaper and is collected here with __WCLONE.
 */
static pid_t clone_child(struct child *child) {
    char *stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (stack == MAP_FAILED)
        return fail(child->failure, errno, "mmap", NULL);

    /* No handler of the parent may run in the child, where it would write into the parent's memory. */
    uint64_t all = ~(uint64_t)0, before = 0;
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, KERNEL_SIGNAL_SET_BYTES);
    int flags = CLONE_VM | CLONE_VFORK | (int)child->request->clone_flags;
    pid_t pid = clone(child_main, stack + STACK_BYTES, flags, child);
    int error = errno;
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &before, NULL, KERNEL_SIGNAL_SET_BYTES);
    munmap(stack, STACK_BYTES);

    if (pid < 0)
        return fail(child->failure, error, "clone", NULL);
    if (child->failure->error == 0)
        return pid;
    while (waitpid(pid, NULL, (int)__WCLONE) < 0 && errno == EINTR)
        ;
    return -1;
}

pid_t spawn_process(const struct spawn_request *request, struct failure *failure) {
    struct child child = { .request = request, .failure = failure };
    failure->error = 0;
    child.sources = calloc(request->fd_count + 1, sizeof *child.sources);
    if (!child.sources)
        return fail(failure, ENOMEM, "calloc", NULL);
    if (request->oom_score_adj)
        snprintf(child.oom_score_adj, sizeof child.oom_score_adj, "%d", *request->oom_score_adj);
    pid_t pid = clone_child(&child);
    free(child.sources);
    return pid;
}
