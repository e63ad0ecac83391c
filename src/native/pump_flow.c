/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Outputs: source -> (spool) -> sink, and a copy to attach clients.
 *
 * Order is kept by one rule: what is older goes first, and nothing newer is read while older bytes have no place to go. The
 * places are, from old to new: the FIFO's own buffer, the spool, `rest`, the source. A FILE, CRI or NULL sink takes every
 * chunk at once, so it has neither spool nor rest.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "pump_internal.h"

void output_mark(struct pump *p, struct output *o) {
    unit_dirty(p, &o->unit);
}

bool output_may_spool(const struct output *o) {
    return o->kind == PUMP_SINK_FIFO && !o->broken;
}

bool output_diverted(const struct output *o) {
    return output_may_spool(o) && (o->reader_gone || o->stalled);
}

/* Delivering what is older than the source. */

static void write_rest(struct pump *p, struct output *o) {
    while (bytes_length(&o->rest) > 0) {
        size_t length = bytes_length(&o->rest);
        ssize_t n = o->broken ? (ssize_t)length : sink_write(o, o->rest.block + o->rest.start, length);
        if (n == -EAGAIN)
            return;
        if (n == -EPIPE && o->kind == PUMP_SINK_FIFO) {
            o->reader_gone = true;
            return;
        }
        if (n < 0) {
            sink_failed(p, o, (int)-n);
            o->broken = true;
            continue;
        }
        o->given += (uint64_t)n;
        bytes_advance(p, &o->rest, (size_t)n);
    }
}

static void rest_to_spool(struct pump *p, struct output *o) {
    size_t length = bytes_length(&o->rest);
    if (length > 0)
        bytes_advance(p, &o->rest, spool_append(p, o, o->rest.block + o->rest.start, length));
}

static void write_spool(struct pump *p, struct output *o) {
    size_t budget = PUMP_BUDGET;
    while (!o->reader_gone && budget > 0 && spool_length(o) > 0) {
        ssize_t n = spool_pass_on(p, o, budget);
        if (n == -EPIPE)
            o->reader_gone = true;
        else if (n < 0 && n != -EAGAIN)
            sink_failed(p, o, (int)-n);
        if (n < 0)
            return;
        budget -= (size_t)n;
    }
}

static void deliver_older(struct pump *p, struct output *o) {
    if (output_may_spool(o)) {
        if (o->reader_gone && fifo_has_reader(o->sink.fd))
            reader_back(p, o);
        write_spool(p, o);
    }
    if (o->broken) {
        o->given += spool_length(o);
        o->spool_start = o->spool_end;
    }
    if (!output_diverted(o) && spool_length(o) == 0)
        write_rest(p, o);
    if (o->reader_gone && !o->broken) {
        spool_punch(o);
        reader_watch(p, o);
    }
    if (output_diverted(o))
        rest_to_spool(p, o);
}

/* Reading. */

bool output_target_reached(const struct output *o) {
    return o->finish.calls > 0 && o->taken >= o->finish.target;
}

static bool may_read(struct pump *p, const struct output *o) {
    if (o->eof || output_target_reached(o) || bytes_length(&o->rest) > 0 || o->sink_full)
        return false;
    if (output_diverted(o) ? spool_room(o) == 0 : spool_length(o) > 0)
        return false;
    return o->clients == 0 || clients_ready(p, o);
}

void output_source_end(struct pump *p, struct output *o, int error) {
    o->eof = true;
    slot_close(p, &o->source);
    if (error != 0 && o->first_errno == 0)
        o->first_errno = error;
    if (o->kind == PUMP_SINK_CRI)
        cri_end(p, o);
}

/* Nothing is there at this moment, so whoever waits for what was there has it. */
static void source_empty(struct output *o) {
    if (o->drain.target > o->taken)
        o->drain.target = o->taken;
    if (o->finish.target > o->taken)
        o->finish.target = o->taken;
}

/* What a read or splice said: >0 bytes, else the source was looked after. */
static bool source_said(struct pump *p, struct output *o, ssize_t n, int error) {
    if (n > 0) {
        o->taken += (uint64_t)n;
        return true;
    }
    if (n == 0 || (error == EIO && o->pty))
        output_source_end(p, o, 0);
    else if (error == EAGAIN)
        source_empty(o);
    else if (error != EINTR)
        output_source_end(p, o, error);
    return false;
}

static ssize_t read_source(struct pump *p, struct output *o, unsigned char *to, size_t want) {
    ssize_t n = read(o->source.fd, to, want);
    return source_said(p, o, n, errno) ? n : 0;
}

/* To a sink that keeps nothing waiting. */
static size_t take_whole(struct pump *p, struct output *o) {
    unsigned char *scratch = pump_scratch(p);
    if (scratch == NULL)
        return 0;
    ssize_t n = read_source(p, o, scratch, o->clients > 0 ? PUMP_FRAME_MAX : PUMP_SCRATCH_READ);
    if (n <= 0)
        return 0;
    clients_send(p, o, scratch, (size_t)n);
    sink_consume(p, o, scratch, (size_t)n);
    o->given += (uint64_t)n;
    return (size_t)n;
}

/* To a sink that may take a part: by way of `rest`. */
static size_t take_chunk(struct pump *p, struct output *o) {
    size_t want = PUMP_FRAME_MAX;
    if (output_diverted(o) && spool_room(o) < want)
        want = (size_t)spool_room(o);
    unsigned char *block = block_take(p);
    if (block == NULL)
        return 0;
    ssize_t n = read_source(p, o, block, want);
    if (n <= 0) {
        block_give(p, block);
        return 0;
    }
    o->rest = (struct bytes){.block = block, .end = (uint32_t)n};
    clients_send(p, o, block, (size_t)n);
    if (!output_diverted(o))
        write_rest(p, o);
    if (output_diverted(o))
        rest_to_spool(p, o);
    return (size_t)n;
}

/* From pipe to pipe without copying. */
static size_t take_spliced(struct pump *p, struct output *o) {
    ssize_t n = splice(o->source.fd, NULL, o->sink.fd, NULL, PUMP_BUDGET, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
    int error = errno;
    if (n < 0 && error == EPIPE) {
        if (o->kind == PUMP_SINK_FIFO)
            o->reader_gone = true;
        else
            sink_failed(p, o, EPIPE);
        output_mark(p, o);
        return 0;
    }
    if (n < 0 && error == EINVAL) {
        o->may_splice = false;
        output_mark(p, o);
        return 0;
    }
    if (n < 0 && error == EAGAIN) {
        /* Either side may be the reason. */
        struct pollfd f = {.fd = o->source.fd, .events = POLLIN};
        o->sink_full = poll(&f, 1, 0) == 1 && f.revents != 0;
        if (o->sink_full)
            return 0;
    }
    if (!source_said(p, o, n, error))
        return 0;
    o->given += (uint64_t)n;
    return (size_t)n;
}

static size_t take(struct pump *p, struct output *o) {
    bool keeps = (o->kind == PUMP_SINK_FIFO || o->kind == PUMP_SINK_FD) && !o->broken;
    if (!keeps)
        return take_whole(p, o);
    if (o->may_splice && o->clients == 0 && !output_diverted(o))
        return take_spliced(p, o);
    return take_chunk(p, o);
}

static bool sink_wanted(const struct output *o) {
    if (o->broken || o->reader_gone)
        return false;
    return o->sink_full || bytes_length(&o->rest) > 0 || spool_length(o) > 0;
}

void output_service(struct pump *p, struct output *o) {
    o->sink_full = false;
    deliver_older(p, o);
    for (size_t moved = 0; moved < PUMP_BUDGET && may_read(p, o);) {
        size_t n = take(p, o);
        moved += n;
        /* Less than there was room for: probably empty now. epoll knows better than one more call. */
        if (n < PUMP_FRAME_MAX / 2 && !o->pty)
            break;
        if (n == 0)
            break;
    }
    if (o->reader_gone && output_may_spool(o))
        reader_watch(p, o);
    if (!output_settle(p, o))
        return;
    slot_want(p, &o->source, may_read(p, o) ? EPOLLIN : 0, o->unit.id, ROLE_SOURCE);
    slot_want(p, &o->sink, sink_wanted(o) ? EPOLLOUT : 0, o->unit.id, ROLE_SINK);
}
