/* SPDX-License-Identifier: Apache-2.0 */
/* The spawner and the reaper, as a plain program so that the sanitizers see them. Prints one line a test. */
#define _GNU_SOURCE
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../../src/native/reap.h"
#include "../../src/native/spawn.h"

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: %s (errno %d)\n", __FILE__, __LINE__, #condition, errno);                          \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

static char *const no_environment[] = { NULL };

static struct spawn_request shell(char *const *argv) {
    return (struct spawn_request){ .file = "/bin/sh", .argv = argv, .envp = no_environment };
}

static int exit_code_of(pid_t pid) {
    int status;
    CHECK(waitpid(pid, &status, 0) == pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void a_child_runs_and_its_exit_code_is_had(void) {
    char *const argv[] = { "sh", "-c", "exit 42", NULL };
    struct spawn_request request = shell(argv);
    struct failure failure;
    CHECK(exit_code_of(spawn_process(&request, &failure)) == 42);
}

static void every_descriptor_of_the_table_is_where_it_should_be(void) {
    /* Four files in slots whose sources are each other's slots. */
    int fds[12], sources[4];
    for (int i = 0; i < 12; i++)
        fds[i] = -1;
    for (int i = 0; i < 4; i++) {
        char path[] = "/tmp/berth-spawn-XXXXXX";
        int fd = mkstemp(path);
        CHECK(fd >= 0 && unlink(path) == 0);
        CHECK(write(fd, &"abcd"[i], 1) == 1);
        sources[i] = fcntl(fd, F_DUPFD_CLOEXEC, 6 + i);
        close(fd);
        CHECK(sources[i] == 6 + i && lseek(sources[i], 0, SEEK_SET) == 0);
    }
    for (int i = 0; i < 4; i++)
        fds[sources[i]] = sources[3 - i];
    int pipe_ends[2];
    CHECK(pipe2(pipe_ends, O_CLOEXEC) == 0);
    fds[1] = pipe_ends[1];
    char *const argv[] = { "sh", "-c", "for i in 6 7 8 9; do eval \"read x <&$i\"; printf %s \"$x\"; done", NULL };
    struct spawn_request request = shell(argv);
    request.fds = fds;
    request.fd_count = 12;
    struct failure failure;
    pid_t pid = spawn_process(&request, &failure);
    close(pipe_ends[1]);
    char text[8] = "";
    exit_code_of(pid);
    CHECK(read(pipe_ends[0], text, sizeof text) == 4);
    CHECK(strcmp(text, "dcba") == 0);
    close(pipe_ends[0]);
    for (int i = 0; i < 4; i++)
        close(sources[i]);
}

static void a_failed_exec_tells_its_call_and_leaves_nothing(void) {
    char *const argv[] = { "x", NULL };
    struct spawn_request request = { .file = "/nonexistent", .argv = argv, .envp = no_environment };
    struct failure failure;
    for (int i = 0; i < 500; i++) {
        CHECK(spawn_process(&request, &failure) == -1);
        CHECK(failure.error == ENOENT && strcmp(failure.syscall, "execve") == 0);
        CHECK(strcmp(failure.path, "/nonexistent") == 0);
    }
    CHECK(waitpid(-1, NULL, WNOHANG | __WALL) == -1 && errno == ECHILD);
    request.file = "/bin/true";
    request.cwd = "/nonexistent";
    CHECK(spawn_process(&request, &failure) == -1 && strcmp(failure.syscall, "chdir") == 0);
    int bad = 4711;
    request = (struct spawn_request){ .file = "/bin/true", .argv = argv, .envp = no_environment, .fds = &bad, .fd_count = 1 };
    CHECK(spawn_process(&request, &failure) == -1 && failure.error == EBADF);
}

static void a_child_dies_with_its_parent_if_asked_to(void) {
    int pipe_ends[2];
    CHECK(pipe2(pipe_ends, O_CLOEXEC) == 0);
    pid_t middle = fork();
    CHECK(middle >= 0);
    if (middle == 0) {
        char *const argv[] = { "sleep", "60", NULL };
        int fds[] = { -1, pipe_ends[1] };
        struct spawn_request request = { .file = "/bin/sleep", .argv = argv, .envp = no_environment, .fds = fds, .fd_count = 2 };
        request.parent_death_signal = SIGKILL;
        struct failure failure;
        _exit(spawn_process(&request, &failure) > 0 ? 0 : 1);
    }
    close(pipe_ends[1]);
    CHECK(exit_code_of(middle) == 0);
    char byte;
    CHECK(read(pipe_ends[0], &byte, 1) == 0); /* ends when the sleeper, the last writer, is gone */
    close(pipe_ends[0]);
}

static void handle_nothing(int number) {
    (void)number;
}

static void a_child_ignores_and_blocks_no_signal(void) {
    sigset_t mask, before;
    sigemptyset(&mask);
    sigaddset(&mask, SIGTERM);
    sigprocmask(SIG_BLOCK, &mask, &before);
    signal(SIGUSR1, handle_nothing);
    signal(SIGPIPE, SIG_IGN);
    char *const argv[] = { "grep", "-Ec", "^Sig(Ign|Blk):.0+$", "/proc/self/status", NULL };
    struct spawn_request request = { .file = "/bin/grep", .argv = argv, .envp = no_environment };
    int pipe_ends[2];
    CHECK(pipe2(pipe_ends, O_CLOEXEC) == 0);
    int fds[] = { -1, pipe_ends[1] };
    request.fds = fds;
    request.fd_count = 2;
    struct failure failure;
    CHECK(exit_code_of(spawn_process(&request, &failure)) == 0);
    char text[4] = "";
    CHECK(read(pipe_ends[0], text, sizeof text) == 2 && text[0] == '2');
    close(pipe_ends[0]);
    close(pipe_ends[1]);
    sigset_t now;
    sigprocmask(SIG_SETMASK, &before, &now);
    CHECK(sigismember(&now, SIGTERM) == 1);
    signal(SIGUSR1, SIG_DFL);
    signal(SIGPIPE, SIG_DFL);
}

#define THREADS 4
#define SPAWNS_A_THREAD 100

static void *spawn_many(void *argument) {
    (void)argument;
    char *const argv[] = { "true", NULL };
    struct spawn_request request = { .file = "/bin/true", .argv = argv, .envp = no_environment };
    struct failure failure;
    for (int i = 0; i < SPAWNS_A_THREAD; i++)
        CHECK(exit_code_of(spawn_process(&request, &failure)) == 0);
    return NULL;
}

static void threads_spawn_at_the_same_time(void) {
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, spawn_many, NULL) == 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
}

struct seen {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct child_exit last;
    int count;
};

static void see(void *context, const struct child_exit *exit) {
    struct seen *seen = context;
    pthread_mutex_lock(&seen->lock);
    seen->last = *exit;
    seen->count++;
    pthread_cond_signal(&seen->changed);
    pthread_mutex_unlock(&seen->lock);
}

static struct child_exit wait_for(struct seen *seen, int count) {
    pthread_mutex_lock(&seen->lock);
    while (seen->count < count)
        pthread_cond_wait(&seen->changed, &seen->lock);
    struct child_exit last = seen->last;
    pthread_mutex_unlock(&seen->lock);
    return last;
}

static void the_reaper_reports_each_child_once_and_waits_for_its_collection(void) {
    struct seen seen = { .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };
    struct reaper *reaper = reaper_start(see, &seen);
    CHECK(reaper);
    for (int i = 1; i <= 100; i++) {
        char script[32];
        snprintf(script, sizeof script, "exit %d", i);
        char *const argv[] = { "sh", "-c", script, NULL };
        struct spawn_request request = shell(argv);
        struct failure failure;
        pid_t pid = spawn_process(&request, &failure);
        CHECK(pid > 0);
        reaper_child_added(reaper);
        struct child_exit ended = wait_for(&seen, i);
        CHECK(ended.pid == pid && ended.exit_code == i && ended.signal == 0);
        CHECK(reaper_collect_child(pid) == 0);
        CHECK(reaper_collect_child(pid) == -ECHILD);
        reaper_collected(reaper, pid);
    }
    reaper_stop(reaper);
}

static void the_reaper_stops_at_once_wherever_it_is(void) {
    struct seen seen = { .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };
    char *const argv[] = { "sleep", "120", NULL };
    struct spawn_request request = { .file = "/bin/sleep", .argv = argv, .envp = no_environment };
    struct failure failure;
    pid_t pid = spawn_process(&request, &failure);
    struct timespec from, to;
    clock_gettime(CLOCK_MONOTONIC, &from);
    for (int i = 0; i < 1000; i++) {
        struct reaper *reaper = reaper_start(see, &seen);
        CHECK(reaper);
        if (i % 2)
            nanosleep(&(struct timespec){ .tv_nsec = (i % 50) * 2000 }, NULL);
        reaper_stop(reaper);
    }
    clock_gettime(CLOCK_MONOTONIC, &to);
    CHECK(to.tv_sec - from.tv_sec < 60);
    CHECK(seen.count == 0);
    kill(pid, SIGKILL);
    CHECK(exit_code_of(pid) == 137);
}

#define RUN(test)                                                                                                      \
    do {                                                                                                               \
        test();                                                                                                        \
        puts("ok " #test);                                                                                             \
        fflush(stdout);                                                                                                \
    } while (0)

int main(void) {
    RUN(a_child_runs_and_its_exit_code_is_had);
    RUN(every_descriptor_of_the_table_is_where_it_should_be);
    RUN(a_failed_exec_tells_its_call_and_leaves_nothing);
    RUN(a_child_dies_with_its_parent_if_asked_to);
    RUN(a_child_ignores_and_blocks_no_signal);
    RUN(threads_spawn_at_the_same_time);
    RUN(the_reaper_reports_each_child_once_and_waits_for_its_collection);
    RUN(the_reaper_stops_at_once_wherever_it_is);
    return 0;
}
