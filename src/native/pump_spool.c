/* SPDX-License-Identifier: Apache-2.0 */
/* The spool: a bounded file that takes an output while its FIFO has no reader. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "pump_internal.h"

uint64_t spool_length(const struct output *o) {
    return o->spool_end - o->spool_start;
}

uint64_t spool_room(const struct output *o) {
    uint64_t length = spool_length(o);
    if (o->spool_path == NULL || o->spool_failed || length >= o->spool_limit)
        return 0;
    return o->spool_limit - length;
}

size_t spool_append(struct pump *p, struct output *o, const unsigned char *at, size_t n) {
    uint64_t room = spool_room(o);
    if (n > room)
        n = (size_t)room;
    if (n == 0)
        return 0;
    if (o->spool_fd < 0)
        o->spool_fd = open(o->spool_path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    size_t done = 0;
    while (o->spool_fd >= 0 && done < n) {
        ssize_t wrote = pwrite(o->spool_fd, at + done, n - done, (off_t)o->spool_end);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote <= 0)
            break;
        done += (size_t)wrote;
        o->spool_end += (uint64_t)wrote;
    }
    /* A disk without room for it is a spool without room: nothing is lost, the container waits. */
    if (done < n)
        o->spool_failed = true;
    if (done > 0 && !o->spooling) {
        o->spooling = true;
        event_add(p, PUMP_EV_SPOOLING, o->unit.id, 1);
    }
    return done;
}

static void spool_caught_up(struct pump *p, struct output *o) {
    /* A failure to shorten it only costs disk space: the offsets say what is in it. */
    if (ftruncate(o->spool_fd, 0) == 0)
        o->spool_start = o->spool_end = o->spool_punched = 0;
    o->spool_failed = false;
    o->spooling = false;
    event_add(p, PUMP_EV_SPOOLING, o->unit.id, 0);
}

/* By read and write: splice would put the file's own pages into the FIFO, which shortening the file then changes. */
ssize_t spool_pass_on(struct pump *p, struct output *o, size_t budget) {
    unsigned char *scratch = pump_scratch(p);
    if (scratch == NULL)
        return -EAGAIN;
    size_t want = spool_length(o) < PUMP_FRAME_MAX ? (size_t)spool_length(o) : PUMP_FRAME_MAX;
    if (want > budget)
        want = budget;
    ssize_t got = pread(o->spool_fd, scratch, want, (off_t)o->spool_start);
    if (got <= 0) {
        /* The disk lost it. Say so and go on with what can be had. */
        sink_failed(p, o, got < 0 ? errno : EIO);
        o->broken = false;
        o->given += spool_length(o);
        o->spool_start = o->spool_end;
        spool_caught_up(p, o);
        return 0;
    }
    ssize_t wrote = sink_write(o, scratch, (size_t)got);
    if (wrote < 0)
        return wrote;
    o->spool_start += (uint64_t)wrote;
    o->given += (uint64_t)wrote;
    if (o->spool_start == o->spool_end)
        spool_caught_up(p, o);
    return wrote;
}

void spool_punch(struct output *o) {
    if (o->spool_fd < 0 || o->spool_start == o->spool_punched)
        return;
    if (fallocate(o->spool_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)o->spool_start) == 0)
        o->spool_failed = false;
    o->spool_punched = o->spool_start;
}

void spool_close(struct output *o, bool unlink_it) {
    if (o->spool_fd < 0)
        return;
    close(o->spool_fd);
    o->spool_fd = -1;
    if (unlink_it)
        unlink(o->spool_path);
}
