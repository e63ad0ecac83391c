/* SPDX-License-Identifier: Apache-2.0 */
/* The pump's thread and the reaper's, and one queue for what both see, in the order in which it happened. */
#ifndef BERTH_LOOP_H
#define BERTH_LOOP_H

#include <stdbool.h>
#include <stddef.h>

#include "pump.h"
#include "reap.h"

struct loop;

struct loop_event {
    bool is_exit; /* else it is the pump's */
    union {
        struct child_exit exit;
        struct pump_event pump;
    } of;
};

/* Takes the pump over. NULL: errno, and the pump is still the caller's. */
struct loop *loop_new(struct pump *);
/* Only when stopped. */
void loop_free(struct loop *);
struct pump *loop_pump(struct loop *);

/* `notify` is called from either thread when the queue is no longer empty; again only after loop_take. 0 or -errno. */
int loop_start(struct loop *, void (*notify)(void *), void *context);
/* Ends both threads. What they had queued can still be taken. */
void loop_stop(struct loop *);
/* Moves the queue's content to the caller, who frees it. */
size_t loop_take(struct loop *, struct loop_event **);

void loop_child_added(struct loop *);
/* 0, or -errno as reaper_collect_child. */
int loop_collect(struct loop *, pid_t);

#endif
