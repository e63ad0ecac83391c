/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "reap.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

/* Sent to the reaper's own thread, to bring it out of waitid when it shall end. Its handler does nothing. */
#define INTERRUPT (SIGRTMIN + 3)
#define INTERRUPT_AGAIN_NANOSECONDS 1000000

struct reaper {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    reaper_report *report;
    void *context;
    pid_t uncollected; /* reported, still a zombie; 0: none */
    bool child_added;  /* since waitid was last called */
    bool stopping;
    bool finished;
};

static void interrupted(int number) {
    (void)number;
}

static void describe(struct child_exit *out, const siginfo_t *info) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    bool exited = info->si_code == CLD_EXITED;
    out->pid = info->si_pid;
    out->signal = exited ? 0 : info->si_status;
    out->exit_code = exited ? info->si_status & 0xff : 128 + info->si_status;
    out->at_nanoseconds = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Waits until there may be a child to look at. False: it is time to end. */
static bool wait_for_turn(struct reaper *reaper, bool childless) {
    pthread_mutex_lock(&reaper->lock);
    while (!reaper->stopping && (reaper->uncollected || (childless && !reaper->child_added)))
        pthread_cond_wait(&reaper->changed, &reaper->lock);
    reaper->child_added = false;
    bool go_on = !reaper->stopping;
    pthread_mutex_unlock(&reaper->lock);
    return go_on;
}

static void *reaper_main(void *argument) {
    struct reaper *reaper = argument;
    prctl(PR_SET_NAME, "berth-reaper");
    bool childless = false;
    while (wait_for_turn(reaper, childless)) {
        siginfo_t info;
        if (waitid(P_ALL, 0, &info, WEXITED | WNOWAIT) < 0) {
            childless = errno == ECHILD;
            continue;
        }
        childless = false;
        struct child_exit exit;
        describe(&exit, &info);
        pthread_mutex_lock(&reaper->lock);
        reaper->uncollected = exit.pid;
        pthread_mutex_unlock(&reaper->lock);
        reaper->report(reaper->context, &exit);
    }
    pthread_mutex_lock(&reaper->lock);
    reaper->finished = true;
    pthread_cond_broadcast(&reaper->changed);
    pthread_mutex_unlock(&reaper->lock);
    return NULL;
}

/* The thread takes no signal but the one that is for it. */
static int start_thread(struct reaper *reaper) {
    struct sigaction action = { .sa_handler = interrupted };
    if (sigaction(INTERRUPT, &action, NULL) < 0)
        return errno;
    sigset_t blocked, before;
    sigfillset(&blocked);
    sigdelset(&blocked, INTERRUPT);
    pthread_sigmask(SIG_SETMASK, &blocked, &before);
    int error = pthread_create(&reaper->thread, NULL, reaper_main, reaper);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}

struct reaper *reaper_start(reaper_report *report, void *context) {
    struct reaper *reaper = calloc(1, sizeof *reaper);
    if (!reaper)
        return NULL;
    reaper->report = report;
    reaper->context = context;
    pthread_mutex_init(&reaper->lock, NULL);
    pthread_cond_init(&reaper->changed, NULL);
    int error = start_thread(reaper);
    if (error == 0)
        return reaper;
    pthread_cond_destroy(&reaper->changed);
    pthread_mutex_destroy(&reaper->lock);
    free(reaper);
    errno = error;
    return NULL;
}

void reaper_stop(struct reaper *reaper) {
    pthread_mutex_lock(&reaper->lock);
    reaper->stopping = true;
    pthread_cond_broadcast(&reaper->changed);
    while (!reaper->finished) {
        /* A signal that comes just before waitid is entered does nothing: so it is sent until the thread has ended. */
        pthread_kill(reaper->thread, INTERRUPT);
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += INTERRUPT_AGAIN_NANOSECONDS;
        if (until.tv_nsec >= 1000000000) {
            until.tv_sec++;
            until.tv_nsec -= 1000000000;
        }
        pthread_cond_timedwait(&reaper->changed, &reaper->lock, &until);
    }
    pthread_mutex_unlock(&reaper->lock);
    pthread_join(reaper->thread, NULL);
    pthread_cond_destroy(&reaper->changed);
    pthread_mutex_destroy(&reaper->lock);
    free(reaper);
}

void reaper_child_added(struct reaper *reaper) {
    pthread_mutex_lock(&reaper->lock);
    reaper->child_added = true;
    pthread_cond_broadcast(&reaper->changed);
    pthread_mutex_unlock(&reaper->lock);
}

void reaper_collected(struct reaper *reaper, pid_t pid) {
    pthread_mutex_lock(&reaper->lock);
    if (reaper->uncollected == pid)
        reaper->uncollected = 0;
    pthread_cond_broadcast(&reaper->changed);
    pthread_mutex_unlock(&reaper->lock);
}

int reaper_collect_child(pid_t pid) {
    siginfo_t info = { .si_pid = 0 };
    while (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG) < 0) {
        if (errno != EINTR)
            return -errno;
    }
    return info.si_pid == 0 ? -EAGAIN : 0;
}
