/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Callers that wait for an output: drain (all that is there now is delivered) and finish (the same, and then it ends).
 *
 * What is there now is a number of bytes, asked of the kernel, not a state: a pipe that somebody keeps writing to is
 * never empty. Patience counts from the last progress, and a reader's progress shows first in how full its pipe is.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>

#include "pump_internal.h"

enum { PTY_BUFFERED_MAX = 131072 }; /* more than the kernel holds for a pty; its exact fill cannot be asked for */

static int sink_fill(const struct output *o) {
    bool is_pipe = o->kind == PUMP_SINK_FIFO || o->kind == PUMP_SINK_FD;
    return is_pipe ? fd_readable_bytes(o->sink.fd) : 0;
}

static void wait_restart(struct pump *p, struct output *o, struct wait *w) {
    w->given = o->given;
    w->sink_bytes = sink_fill(o);
    w->since_ms = p->now_ms;
}

void output_wait_begin(struct pump *p, struct output *o, struct wait *w, uint32_t grace_ms) {
    uint64_t there = o->eof ? 0 : o->pty ? PTY_BUFFERED_MAX : (uint64_t)fd_readable_bytes(o->source.fd);
    p->now_ms = pump_now_ms();
    w->calls++;
    w->grace_ms = grace_ms;
    w->target = o->taken + there;
    wait_restart(p, o, w);
    o->spool_failed = false;
    output_mark(p, o);
}

static int64_t wait_deadline(const struct wait *w) {
    return w->calls == 0 ? INT64_MAX : w->since_ms + w->grace_ms;
}

/* Whether grace_ms went by without progress of any kind. */
static bool wait_expired(struct pump *p, struct output *o, struct wait *w) {
    if (w->calls == 0)
        return false;
    if (w->given != o->given) {
        wait_restart(p, o, w);
        return false;
    }
    if (p->now_ms < wait_deadline(w))
        return false;
    if (sink_fill(o) != w->sink_bytes) {
        wait_restart(p, o, w);
        return false;
    }
    return true;
}

static void drain_answer(struct pump *p, struct output *o, enum pump_drained how) {
    for (; o->drain.calls > 0; o->drain.calls--)
        event_add(p, PUMP_EV_DRAINED, o->unit.id, how);
    o->drain = (struct wait){0};
    o->stalled = false;
    output_mark(p, o);
}

static void settle_drain(struct pump *p, struct output *o) {
    struct wait *w = &o->drain;
    if (w->calls == 0)
        return;
    if (o->given >= w->target) {
        drain_answer(p, o, o->failing ? PUMP_DRAINED_LOST : PUMP_DRAINED_ALL);
    } else if (output_diverted(o) && o->taken >= w->target && bytes_length(&o->rest) == 0) {
        drain_answer(p, o, PUMP_DRAINED_SPOOLED);
    } else if (wait_expired(p, o, w)) {
        if (o->clients > 0 && clients_kick_slow(p, o)) {
            wait_restart(p, o, w);
        } else if (!output_may_spool(o)) {
            drain_answer(p, o, PUMP_DRAINED_LOST);
        } else if (!output_diverted(o) && spool_room(o) > 0) {
            o->stalled = true;
            wait_restart(p, o, w);
        } else {
            /* The spool is full: the rest waits in the pipe. */
            drain_answer(p, o, PUMP_DRAINED_SPOOLED);
        }
        output_mark(p, o);
    }
}

static void output_end(struct pump *p, struct output *o, int error) {
    if (o->drain.calls > 0)
        drain_answer(p, o, error == 0 ? PUMP_DRAINED_ALL : PUMP_DRAINED_LOST);
    event_add(p, PUMP_EV_OUTPUT_ENDED, o->unit.id, error);
    output_free(p, o);
}

/* Whether all of an ended output is delivered. What a reader left behind in the FIFO is lost if we close it now. */
static bool all_delivered(struct pump *p, struct output *o) {
    if (o->given != o->taken)
        return false;
    if (!output_may_spool(o) || fifo_has_reader(o->sink.fd) || sink_fill(o) == 0)
        return true;
    o->reader_gone = true;
    reader_watch(p, o);
    return false;
}

bool output_settle(struct pump *p, struct output *o) {
    if (!o->eof && output_target_reached(o))
        output_source_end(p, o, 0);
    settle_drain(p, o);
    if (o->eof && all_delivered(p, o)) {
        output_end(p, o, o->first_errno);
        return false;
    }
    if (wait_expired(p, o, &o->finish)) {
        if (!o->eof && o->clients > 0 && clients_kick_slow(p, o)) {
            wait_restart(p, o, &o->finish);
            output_mark(p, o);
            return true;
        }
        output_end(p, o, o->reader_gone ? EPIPE : ETIMEDOUT);
        return false;
    }
    return true;
}

int64_t output_deadline(const struct output *o) {
    int64_t drain = wait_deadline(&o->drain);
    int64_t finish = wait_deadline(&o->finish);
    return drain < finish ? drain : finish;
}
