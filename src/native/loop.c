/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "loop.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <time.h>

#define EVENTS_A_STEP 64

struct loop {
    struct pump *pump;
    struct reaper *reaper; /* NULL: stopped */
    pthread_t pump_thread;
    atomic_bool stopping;
    void (*notify)(void *);
    void *context;

    pthread_mutex_t lock; /* of the queue */
    struct loop_event *queue;
    size_t count;
    size_t room;
    bool notified;
};

/* An event is never dropped: without memory its thread waits for some. */
static void make_room(struct loop *loop, size_t more) {
    while (loop->count + more > loop->room) {
        size_t room = loop->room ? loop->room * 2 : EVENTS_A_STEP;
        struct loop_event *queue = realloc(loop->queue, room * sizeof *queue);
        if (queue) {
            loop->queue = queue;
            loop->room = room;
        } else {
            nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
        }
    }
}

static bool begin_push(struct loop *loop, size_t count) {
    pthread_mutex_lock(&loop->lock);
    make_room(loop, count);
    bool notify = !loop->notified;
    loop->notified = true;
    return notify;
}

static void end_push(struct loop *loop, bool notify) {
    pthread_mutex_unlock(&loop->lock);
    if (notify)
        loop->notify(loop->context);
}

static void push_exit(void *context, const struct child_exit *exit) {
    struct loop *loop = context;
    bool notify = begin_push(loop, 1);
    loop->queue[loop->count++] = (struct loop_event){ .is_exit = true, .of.exit = *exit };
    end_push(loop, notify);
}

static void *pump_main(void *argument) {
    struct loop *loop = argument;
    prctl(PR_SET_NAME, "berth-pump");
    while (!atomic_load(&loop->stopping)) {
        struct pump_event events[EVENTS_A_STEP];
        int count = pump_step(loop->pump, -1, events, EVENTS_A_STEP);
        if (count <= 0)
            continue;
        bool notify = begin_push(loop, (size_t)count);
        for (int i = 0; i < count; i++)
            loop->queue[loop->count++] = (struct loop_event){ .is_exit = false, .of.pump = events[i] };
        end_push(loop, notify);
    }
    return NULL;
}

struct loop *loop_new(struct pump *pump) {
    struct loop *loop = calloc(1, sizeof *loop);
    if (!loop)
        return NULL;
    loop->pump = pump;
    pthread_mutex_init(&loop->lock, NULL);
    return loop;
}

void loop_free(struct loop *loop) {
    pump_free(loop->pump);
    pthread_mutex_destroy(&loop->lock);
    free(loop->queue);
    free(loop);
}

struct pump *loop_pump(struct loop *loop) {
    return loop->pump;
}

int loop_start(struct loop *loop, void (*notify)(void *), void *context) {
    loop->notify = notify;
    loop->context = context;
    loop->notified = false;
    atomic_store(&loop->stopping, false);
    loop->reaper = reaper_start(push_exit, loop);
    if (!loop->reaper)
        return -errno;
    /* Signals are for the threads that have handlers. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&loop->pump_thread, NULL, pump_main, loop);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error) {
        reaper_stop(loop->reaper);
        loop->reaper = NULL;
    }
    return -error;
}

void loop_stop(struct loop *loop) {
    if (!loop->reaper)
        return;
    atomic_store(&loop->stopping, true);
    pump_wake(loop->pump);
    pthread_join(loop->pump_thread, NULL);
    reaper_stop(loop->reaper);
    loop->reaper = NULL;
}

size_t loop_take(struct loop *loop, struct loop_event **events) {
    pthread_mutex_lock(&loop->lock);
    size_t count = loop->count;
    *events = loop->queue;
    loop->queue = NULL;
    loop->count = loop->room = 0;
    loop->notified = false;
    pthread_mutex_unlock(&loop->lock);
    return count;
}

void loop_child_added(struct loop *loop) {
    if (loop->reaper)
        reaper_child_added(loop->reaper);
}

int loop_collect(struct loop *loop, pid_t pid) {
    int result = reaper_collect_child(pid);
    if (loop->reaper && result != -EAGAIN)
        reaper_collected(loop->reaper, pid);
    return result;
}
