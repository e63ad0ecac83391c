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
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pump_internal.h"

enum { PTY_BUFFERED_MAX = 131072 }; /* more than the kernel holds for a pty; its exact fill cannot be asked for */

struct output *output_find(struct pump *p, uint32_t id) {
    struct unit *u = id == 0 ? NULL : unit_find(p, id);
    return u != NULL && u->kind == PUMP_OUTPUT ? (struct output *)u : NULL;
}

static void output_mark(struct pump *p, struct output *o) {
    unit_dirty(p, &o->unit);
}

static bool has_spool_mode(const struct output *o) {
    return o->kind == PUMP_SINK_FIFO && !o->broken;
}

/* Bytes go to the spool instead of the sink. */
static bool diverted(const struct output *o) {
    return has_spool_mode(o) && (o->reader_gone || o->stalled);
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
    if (has_spool_mode(o)) {
        if (o->reader_gone && fifo_has_reader(o->sink.fd))
            reader_back(p, o);
        write_spool(p, o);
    }
    if (o->broken) {
        o->given += spool_length(o);
        o->spool_start = o->spool_end;
    }
    if (!diverted(o) && spool_length(o) == 0)
        write_rest(p, o);
    if (o->reader_gone && !o->broken) {
        spool_punch(o);
        reader_watch(p, o);
    }
    if (diverted(o))
        rest_to_spool(p, o);
}

/* Reading. */

static bool target_reached(const struct output *o) {
    return o->finish.calls > 0 && o->taken >= o->finish.target;
}

static bool may_read(struct pump *p, const struct output *o) {
    if (o->eof || target_reached(o) || bytes_length(&o->rest) > 0 || o->sink_full)
        return false;
    if (diverted(o) ? spool_room(o) == 0 : spool_length(o) > 0)
        return false;
    return o->clients == 0 || clients_ready(p, o);
}

static void source_end(struct pump *p, struct output *o, int error) {
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
        source_end(p, o, 0);
    else if (error == EAGAIN)
        source_empty(o);
    else if (error != EINTR)
        source_end(p, o, error);
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
    if (diverted(o) && spool_room(o) < want)
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
    if (!diverted(o))
        write_rest(p, o);
    if (diverted(o))
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
    if (o->may_splice && o->clients == 0 && !diverted(o))
        return take_spliced(p, o);
    return take_chunk(p, o);
}

/* Waiting callers. */

static int fifo_fill(const struct output *o) {
    return o->kind == PUMP_SINK_FIFO && o->sink.fd >= 0 ? fd_readable_bytes(o->sink.fd) : 0;
}

static void wait_restart(struct pump *p, struct output *o, struct wait *w) {
    w->given = o->given;
    w->fifo_bytes = fifo_fill(o);
    w->since_ms = p->now_ms;
}

static void wait_begin(struct pump *p, struct output *o, struct wait *w, uint32_t grace_ms) {
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
    if (fifo_fill(o) != w->fifo_bytes) {
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
    } else if (diverted(o) && o->taken >= w->target && bytes_length(&o->rest) == 0) {
        drain_answer(p, o, PUMP_DRAINED_SPOOLED);
    } else if (wait_expired(p, o, w)) {
        if (o->clients > 0 && clients_kick_slow(p, o)) {
            wait_restart(p, o, w);
        } else if (!has_spool_mode(o)) {
            drain_answer(p, o, PUMP_DRAINED_LOST);
        } else if (!diverted(o) && spool_room(o) > 0) {
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
    if (!has_spool_mode(o) || fifo_has_reader(o->sink.fd) || fifo_fill(o) == 0)
        return true;
    o->reader_gone = true;
    reader_watch(p, o);
    return false;
}

/* Returns false if the output is no more. */
static bool settle(struct pump *p, struct output *o) {
    if (!o->eof && target_reached(o))
        source_end(p, o, 0);
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
    if (o->reader_gone && has_spool_mode(o))
        reader_watch(p, o);
    if (!settle(p, o))
        return;
    slot_want(p, &o->source, may_read(p, o) ? EPOLLIN : 0, o->unit.id, ROLE_SOURCE);
    slot_want(p, &o->sink, sink_wanted(o) ? EPOLLOUT : 0, o->unit.id, ROLE_SINK);
}

int64_t output_deadline(const struct output *o) {
    int64_t drain = wait_deadline(&o->drain);
    int64_t finish = wait_deadline(&o->finish);
    return drain < finish ? drain : finish;
}

/* Adding and removing. */

void output_free(struct pump *p, struct output *o) {
    unit_unlink(p, &o->unit);
    slot_close(p, &o->source);
    slot_close(p, &o->sink);
    spool_close(o, true);
    bytes_drop(p, &o->rest);
    if (o->reader_gone)
        reader_unwatch_if_unused(p);
    if (o->unit.id != 0 && !p->freeing)
        clients_output_ended(p, o->unit.id);
    free(o->hold);
    free(o->path);
    free(o->stream);
    free(o->spool_path);
    free(o);
}

static int copy_text(char **to, const char *from) {
    if (from != NULL && (*to = strdup(from)) == NULL)
        return -ENOMEM;
    return 0;
}

static int source_check(int fd) {
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -errno;
    return S_ISREG(st.st_mode) || S_ISDIR(st.st_mode) ? -EINVAL : fd_prepare(fd, true);
}

static int add_check(const struct pump_output *want) {
    bool is_file = want->sink == PUMP_SINK_FILE || want->sink == PUMP_SINK_CRI;
    if (want->sink > PUMP_SINK_FD || ((is_file || want->sink == PUMP_SINK_FIFO) && want->path == NULL))
        return -EINVAL;
    if (want->sink == PUMP_SINK_CRI &&
        (want->cri_stream == NULL || want->cri_stream[0] == '\0' || strlen(want->cri_stream) > 15))
        return -EINVAL;
    return 0;
}

static int output_fill(struct pump *p, struct output *o, const struct pump_output *want) {
    int rc = add_check(want);
    if (rc == 0)
        rc = source_check(want->source);
    if (rc == 0 && want->sink == PUMP_SINK_FD)
        rc = fd_prepare(want->sink_fd, true);
    if (rc == 0)
        rc = copy_text(&o->path, want->path);
    if (rc == 0)
        rc = copy_text(&o->stream, want->cri_stream);
    if (rc == 0)
        rc = copy_text(&o->spool_path, want->spool_path);
    if (rc == 0)
        rc = sink_open(p, o);
    return rc;
}

int pump_output_add(struct pump *p, const struct pump_output *want) {
    struct output *o = calloc(1, sizeof *o);
    if (o == NULL) {
        close_quietly(want->source);
        close_quietly(want->sink == PUMP_SINK_FD ? want->sink_fd : -1);
        return -ENOMEM;
    }
    o->kind = want->sink;
    o->pty = want->source_is_pty != 0;
    o->source.fd = want->source;
    o->sink.fd = want->sink == PUMP_SINK_FD ? want->sink_fd : -1;
    o->spool_fd = -1;
    o->spool_limit = want->spool_limit < INT64_MAX ? want->spool_limit : INT64_MAX;
    o->log_max_bytes = want->log_max_bytes < INT64_MAX ? want->log_max_bytes : INT64_MAX;
    pump_lock(p);
    int rc = unit_id_check(p, want->id);
    if (rc == 0)
        rc = output_fill(p, o, want);
    if (rc == 0)
        rc = slot_want(p, &o->source, EPOLLIN, want->id, ROLE_SOURCE);
    if (rc < 0) {
        output_free(p, o);
    } else {
        unit_link(p, &o->unit, want->id, PUMP_OUTPUT);
        output_mark(p, o);
    }
    pump_unlock(p);
    return rc;
}

int pump_output_drain(struct pump *p, uint32_t id, uint32_t grace_ms) {
    pump_lock(p);
    struct output *o = output_find(p, id);
    if (o != NULL)
        wait_begin(p, o, &o->drain, grace_ms);
    pump_unlock(p);
    return o == NULL ? -ENOENT : 0;
}

int pump_output_finish(struct pump *p, uint32_t id, uint32_t grace_ms) {
    pump_lock(p);
    struct output *o = output_find(p, id);
    if (o != NULL)
        wait_begin(p, o, &o->finish, grace_ms);
    pump_unlock(p);
    return o == NULL ? -ENOENT : 0;
}

int pump_output_remove(struct pump *p, uint32_t id) {
    pump_lock(p);
    struct output *o = output_find(p, id);
    if (o != NULL)
        output_free(p, o);
    pump_unlock(p);
    return o == NULL ? -ENOENT : 0;
}

int pump_output_reopen(struct pump *p, uint32_t id) {
    pump_lock(p);
    struct output *o = output_find(p, id);
    int rc = -ENOENT;
    if (o != NULL && o->kind != PUMP_SINK_FILE && o->kind != PUMP_SINK_CRI) {
        rc = -EINVAL;
    } else if (o != NULL) {
        rc = file_open(o->path);
        if (rc >= 0) {
            slot_close(p, &o->sink);
            o->sink.fd = rc;
            o->broken = false;
            o->failing = false;
            rc = 0;
        }
    }
    pump_unlock(p);
    return rc;
}
