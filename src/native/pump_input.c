/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inputs: a FIFO and any number of attach clients -> one pipe or pty.
 *
 * One chunk is taken at a time, from each in turn, and only when the chunk before is written, so that chunks never mix
 * and a flood from one does not starve the others. A slow destination gives back-pressure to all of them.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pump_internal.h"

struct input *input_find(struct pump *p, uint32_t id) {
    struct unit *u = id == 0 ? NULL : unit_find(p, id);
    return u != NULL && u->kind == PUMP_INPUT ? (struct input *)u : NULL;
}

bool input_takes(const struct input *in) {
    return bytes_length(&in->rest) == 0;
}

static void input_end(struct pump *p, struct input *in, int error) {
    event_add(p, PUMP_EV_INPUT_ENDED, in->unit.id, error);
    input_free(p, in);
}

/* Writes what waits. 0, or -errno if the destination broke. */
static int write_rest(struct pump *p, struct input *in) {
    bool hung_up = in->dest_hung_up;
    in->dest_hung_up = false;
    while (bytes_length(&in->rest) > 0) {
        ssize_t n = write(in->dest.fd, in->rest.block + in->rest.start, bytes_length(&in->rest));
        if (n > 0) {
            bytes_advance(p, &in->rest, (size_t)n);
            continue;
        }
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno != EAGAIN)
            return -errno;
        /* A pty without a slave that takes no more never will, and epoll would tell of the hang-up for ever. */
        return hung_up && in->pty ? -EPIPE : 0;
    }
    return 0;
}

/* Lends a block for a chunk; NULL: no memory now. */
static unsigned char *chunk_begin(struct pump *p, struct input *in) {
    if (in->rest.block == NULL)
        in->rest.block = block_take(p);
    return in->rest.block;
}

static size_t chunk_end(struct pump *p, struct input *in, ssize_t n) {
    if (n <= 0) {
        bytes_drop(p, &in->rest);
        return 0;
    }
    in->rest.start = 0;
    in->rest.end = (uint32_t)n;
    return (size_t)n;
}

static size_t pull_fifo(struct pump *p, struct input *in) {
    if (in->fifo.fd < 0 || (in->closing && in->close_left == 0))
        return 0;
    unsigned char *block = chunk_begin(p, in);
    if (block == NULL)
        return 0;
    size_t want = PUMP_FRAME_MAX;
    if (in->closing && in->close_left < want)
        want = (size_t)in->close_left;
    ssize_t n = read(in->fifo.fd, block, want);
    if (in->closing)
        in->close_left = n > 0 ? in->close_left - (uint64_t)n : 0;
    return chunk_end(p, in, n);
}

static size_t pull_client(struct pump *p, struct input *in, struct client *c) {
    unsigned char *block = chunk_begin(p, in);
    if (block == NULL)
        return 0;
    return chunk_end(p, in, (ssize_t)client_read_stdin(p, c, block));
}

/* The client of this input that comes after the one with id `last` (0: the first one); NULL: the FIFO's turn. */
static struct client *next_client(struct pump *p, const struct input *in, uint32_t last) {
    bool passed = last == 0;
    for (struct unit *u = p->units; u != NULL; u = u->next) {
        struct client *c = (struct client *)u;
        if (u->kind == PUMP_CLIENT && passed && c->input == in->unit.id)
            return c;
        if (u->id == last)
            passed = true;
    }
    return NULL;
}

/* Takes chunks from each in turn. 0, or -errno if the destination broke. */
static int pull_in_turn(struct pump *p, struct input *in) {
    size_t budget = PUMP_BUDGET;
    uint32_t who = in->last;
    bool any = false; /* did anybody have something since the FIFO's last turn */
    int circles = 0;
    while (budget > 0 && input_takes(in) && circles < 2) {
        struct client *c = in->closing ? NULL : next_client(p, in, who);
        who = c == NULL ? 0 : c->unit.id;
        size_t n = c == NULL ? pull_fifo(p, in) : pull_client(p, in, c);
        if (c == NULL) {
            circles = any || n > 0 ? 0 : circles + 1;
            any = false;
        }
        if (n == 0)
            continue;
        any = true;
        in->last = who;
        budget -= n < budget ? n : budget;
        int rc = write_rest(p, in);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static bool closed_out(const struct input *in) {
    return in->closing && in->close_left == 0 && input_takes(in);
}

void input_service(struct pump *p, struct input *in) {
    int rc = write_rest(p, in);
    if (rc == 0)
        rc = pull_in_turn(p, in);
    if (rc < 0 || closed_out(in)) {
        input_end(p, in, -rc);
        return;
    }
    bool takes = input_takes(in);
    slot_want(p, &in->dest, takes ? 0 : EPOLLOUT, in->unit.id, ROLE_DEST);
    slot_want(p, &in->fifo, takes ? EPOLLIN : 0, in->unit.id, ROLE_FIFO);
    clients_interest(p, in->unit.id);
}

void input_close_begin(struct pump *p, struct input *in) {
    if (in->closing)
        return;
    in->closing = true;
    in->close_left = in->fifo.fd < 0 ? 0 : (uint64_t)fd_readable_bytes(in->fifo.fd);
    unit_dirty(p, &in->unit);
}

/* Adding and removing. */

void input_free(struct pump *p, struct input *in) {
    unit_unlink(p, &in->unit);
    slot_close(p, &in->dest);
    slot_close(p, &in->fifo);
    close_quietly(in->fifo_write_fd);
    bytes_drop(p, &in->rest);
    if (in->unit.id != 0 && !p->freeing)
        clients_input_ended(p, in->unit.id);
    free(in);
}

static int open_fifo(struct input *in, const char *path) {
    in->fifo.fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (in->fifo.fd < 0)
        return -errno;
    struct stat st;
    if (fstat(in->fifo.fd, &st) < 0)
        return -errno;
    if (!S_ISFIFO(st.st_mode))
        return -EINVAL;
    in->fifo_write_fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    return in->fifo_write_fd < 0 ? -errno : 0;
}

int pump_input_add(struct pump *p, const struct pump_input *want) {
    struct input *in = calloc(1, sizeof *in);
    if (in == NULL) {
        close_quietly(want->dest);
        return -ENOMEM;
    }
    in->pty = want->dest_is_pty != 0;
    in->dest.fd = want->dest;
    in->fifo.fd = -1;
    in->fifo_write_fd = -1;
    pump_lock(p);
    int rc = unit_id_check(p, want->id);
    if (rc == 0)
        rc = fd_prepare(want->dest, true);
    if (rc == 0 && want->fifo_path != NULL)
        rc = open_fifo(in, want->fifo_path);
    if (rc == 0)
        rc = slot_want(p, &in->fifo, EPOLLIN, want->id, ROLE_FIFO);
    if (rc < 0) {
        input_free(p, in);
    } else {
        unit_link(p, &in->unit, want->id, PUMP_INPUT);
        unit_dirty(p, &in->unit);
    }
    pump_unlock(p);
    return rc;
}

int pump_input_close(struct pump *p, uint32_t id) {
    pump_lock(p);
    struct input *in = input_find(p, id);
    if (in != NULL)
        input_close_begin(p, in);
    pump_unlock(p);
    return in == NULL ? -ENOENT : 0;
}

int pump_input_remove(struct pump *p, uint32_t id) {
    pump_lock(p);
    struct input *in = input_find(p, id);
    if (in != NULL)
        input_free(p, in);
    pump_unlock(p);
    return in == NULL ? -ENOENT : 0;
}
