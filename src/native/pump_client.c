/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attach clients: frames over a unix stream socket.
 *
 * An output is read only while none of its clients has bytes waiting, so a client never has more than the rest of one frame
 * to hold. What the client sends is read frame by frame and
 * never further than its input takes, so that a flood stays in the client's own socket. What breaks the protocol costs the
 * sender its connection and nobody else anything.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pump_internal.h"

enum { FRAME_STDIN = 0, FRAME_STDOUT = 1, FRAME_STDERR = 2, FRAME_STDIN_END = 3, FRAMES_A_STEP = 64 };

/* To the client. */

static void output_dropped(struct client *c, struct pump *p) {
    bytes_drop(p, &c->queue);
    c->no_output = true;
}

static void outputs_dirty(struct pump *p, const struct client *c) {
    struct output *out = output_find(p, c->out);
    struct output *err = output_find(p, c->err);
    if (out != NULL)
        unit_dirty(p, &out->unit);
    if (err != NULL)
        unit_dirty(p, &err->unit);
}

static void write_queue(struct pump *p, struct client *c) {
    if (bytes_length(&c->queue) == 0)
        return;
    while (bytes_length(&c->queue) > 0) {
        ssize_t n = send(c->slot.fd, c->queue.block + c->queue.start, bytes_length(&c->queue), MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n > 0) {
            c->since_ms = p->now_ms;
            bytes_advance(p, &c->queue, (size_t)n);
        } else if (errno == EAGAIN) {
            return;
        } else if (errno != EINTR) {
            output_dropped(c, p);
        }
    }
    outputs_dirty(p, c);
}

static void send_frame(struct pump *p, struct client *c, unsigned char kind, const unsigned char *at, size_t n) {
    unsigned char header[PUMP_FRAME_HEADER] = {kind, 0, (unsigned char)(n >> 16), (unsigned char)(n >> 8), (unsigned char)n};
    struct iovec parts[2] = {{.iov_base = header, .iov_len = sizeof header}, {.iov_base = (void *)(uintptr_t)at, .iov_len = n}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    ssize_t sent;
    do
        sent = sendmsg(c->slot.fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (sent < 0 && errno == EINTR);
    if (sent < 0 && errno != EAGAIN) {
        output_dropped(c, p);
        unit_dirty(p, &c->unit);
        return;
    }
    size_t done = sent < 0 ? 0 : (size_t)sent;
    if (done == sizeof header + n)
        return;
    unsigned char *block = block_take(p);
    if (block == NULL) {
        /* A torn frame cannot be mended. */
        client_gone(p, c, PUMP_CLIENT_SLOW);
        return;
    }
    size_t in_header = done < sizeof header ? done : sizeof header;
    size_t in_payload = done - in_header;
    size_t header_rest = sizeof header - in_header;
    memcpy(block, header + in_header, header_rest);
    memcpy(block + header_rest, at + in_payload, n - in_payload);
    c->queue = (struct bytes){.block = block, .end = (uint32_t)(header_rest + n - in_payload)};
    c->since_ms = p->now_ms;
    unit_dirty(p, &c->unit);
}

static bool sees(const struct unit *u, uint32_t output_id) {
    const struct client *c = (const struct client *)u;
    return u->kind == PUMP_CLIENT && (c->out == output_id || c->err == output_id);
}

bool clients_ready(struct pump *p, const struct output *o) {
    for (const struct unit *u = p->units; u != NULL; u = u->next)
        if (sees(u, o->unit.id) && bytes_length(&((const struct client *)u)->queue) > 0)
            return false;
    return true;
}

void clients_send(struct pump *p, const struct output *o, const unsigned char *at, size_t n) {
    if (o->clients == 0)
        return;
    for (struct unit *u = p->units, *next; u != NULL; u = next) {
        next = u->next;
        struct client *c = (struct client *)u;
        if (sees(u, o->unit.id) && !c->no_output)
            send_frame(p, c, c->out == o->unit.id ? FRAME_STDOUT : FRAME_STDERR, at, n);
    }
}

bool clients_kick_slow(struct pump *p, const struct output *o) {
    bool any = false;
    for (struct unit *u = p->units, *next; u != NULL; u = next) {
        next = u->next;
        struct client *c = (struct client *)u;
        if (!sees(u, o->unit.id) || bytes_length(&c->queue) == 0)
            continue;
        client_gone(p, c, PUMP_CLIENT_SLOW);
        any = true;
    }
    return any;
}

void clients_output_ended(struct pump *p, uint32_t output_id) {
    for (struct unit *u = p->units; u != NULL; u = u->next) {
        struct client *c = (struct client *)u;
        if (!sees(u, output_id))
            continue;
        if (c->out == output_id)
            c->out = 0;
        if (c->err == output_id)
            c->err = 0;
        if (c->out == 0 && c->err == 0) {
            c->ending = true;
            unit_dirty(p, u);
        }
    }
}

/* From the client. */

/* Reads at most n bytes: how many, 0: none now, or not ever (then the client is half closed). */
static size_t receive(struct client *c, unsigned char *to, size_t n) {
    for (;;) {
        ssize_t got = recv(c->slot.fd, to, n, MSG_DONTWAIT);
        if (got > 0)
            return (size_t)got;
        if (got < 0 && errno == EINTR)
            continue;
        if (got == 0 || errno != EAGAIN)
            c->half_closed = true;
        return 0;
    }
}

static uint32_t frame_length(const struct client *c) {
    return (uint32_t)c->header[1] << 24 | (uint32_t)c->header[2] << 16 | (uint32_t)c->header[3] << 8 | c->header[4];
}

static bool frame_allowed(const struct client *c) {
    uint32_t length = frame_length(c);
    return c->header[0] == FRAME_STDIN ? length <= PUMP_FRAME_MAX : c->header[0] == FRAME_STDIN_END && length == 0;
}

/* Reads frame headers and payload that nobody wants, up to payload for an input. Returns false if the protocol was broken. */
static bool read_frames(struct pump *p, struct client *c) {
    for (int frames = 0; frames < FRAMES_A_STEP && !c->half_closed; frames++) {
        if (c->payload_left > 0) {
            if (c->input != 0)
                return true;
            unsigned char *scratch = pump_scratch(p);
            size_t n = scratch == NULL ? 0 : receive(c, scratch, c->payload_left);
            c->payload_left -= (uint32_t)n;
            if (n == 0)
                return true;
            continue;
        }
        size_t n = receive(c, c->header + c->header_length, PUMP_FRAME_HEADER - c->header_length);
        c->header_length += (uint32_t)n;
        if (n == 0)
            return true;
        if (!(c->header[0] == FRAME_STDIN || c->header[0] == FRAME_STDIN_END))
            return false;
        if (c->header_length < PUMP_FRAME_HEADER)
            continue;
        if (!frame_allowed(c))
            return false;
        c->header_length = 0;
        c->payload_left = frame_length(c);
        struct input *in = c->header[0] == FRAME_STDIN_END ? input_find(p, c->input) : NULL;
        if (in != NULL)
            input_close_begin(p, in);
    }
    return true;
}

size_t client_read_stdin(struct pump *p, struct client *c, unsigned char *to) {
    if (c->half_closed || c->ending || c->broken)
        return 0;
    if (c->payload_left == 0) {
        if (!read_frames(p, c)) {
            c->broken = true;
            unit_dirty(p, &c->unit);
        }
        if (c->half_closed)
            unit_dirty(p, &c->unit);
        struct input *in = input_find(p, c->input);
        if (c->payload_left == 0 || c->broken || in == NULL || in->closing)
            return 0;
    }
    size_t n = receive(c, to, c->payload_left);
    c->payload_left -= (uint32_t)n;
    if (c->half_closed)
        unit_dirty(p, &c->unit);
    return n;
}

void clients_input_ended(struct pump *p, uint32_t input_id) {
    for (struct unit *u = p->units; u != NULL; u = u->next) {
        struct client *c = (struct client *)u;
        if (u->kind != PUMP_CLIENT || c->input != input_id)
            continue;
        c->input = 0;
        unit_dirty(p, u);
    }
}

/* The loop. */

static bool wants_to_read(struct pump *p, const struct client *c) {
    if (c->half_closed || c->ending)
        return false;
    struct input *in = c->payload_left > 0 ? input_find(p, c->input) : NULL;
    return in == NULL || (input_takes(in) && !in->closing);
}

static void interest(struct pump *p, struct client *c) {
    uint32_t mask = wants_to_read(p, c) ? EPOLLIN : 0;
    if (bytes_length(&c->queue) > 0)
        mask |= EPOLLOUT;
    /* It sends no more, but its going is still to be seen, once. */
    if (c->half_closed && !c->no_output)
        mask |= EPOLLET;
    slot_want(p, &c->slot, mask, c->unit.id, ROLE_CLIENT);
}

void clients_interest(struct pump *p, uint32_t input_id) {
    for (struct unit *u = p->units; u != NULL; u = u->next)
        if (u->kind == PUMP_CLIENT && ((struct client *)u)->input == input_id)
            interest(p, (struct client *)u);
}

/* One that only stopped sending still gets output; one that went altogether does not. */
static bool has_left(const struct client *c) {
    if (!c->half_closed)
        return false;
    if (c->no_output || (c->out == 0 && c->err == 0 && !c->ending))
        return true;
    struct pollfd f = {.fd = c->slot.fd, .events = 0};
    return poll(&f, 1, 0) == 1 && (f.revents & (POLLHUP | POLLERR | POLLNVAL)) != 0;
}

void client_service(struct pump *p, struct client *c) {
    if (!c->broken && !c->ending) {
        if (!read_frames(p, c))
            c->broken = true;
        struct input *in = c->payload_left > 0 ? input_find(p, c->input) : NULL;
        if (in != NULL && !c->broken)
            unit_dirty(p, &in->unit);
    }
    write_queue(p, c);
    if (c->broken) {
        client_gone(p, c, PUMP_CLIENT_PROTOCOL);
    } else if (has_left(c)) {
        client_gone(p, c, PUMP_CLIENT_LEFT);
    } else if (c->ending && bytes_length(&c->queue) == 0) {
        client_gone(p, c, PUMP_CLIENT_OUTPUT_ENDED);
    } else if (p->now_ms >= client_deadline(p, c)) {
        client_gone(p, c, PUMP_CLIENT_SLOW);
    } else {
        interest(p, c);
    }
}

int64_t client_deadline(const struct pump *p, const struct client *c) {
    return bytes_length(&c->queue) == 0 ? INT64_MAX : c->since_ms + p->client_slow_ms;
}

/* Coming and going. */

static void count_outputs(struct pump *p, const struct client *c, bool more) {
    uint32_t ids[2] = {c->out, c->err};
    for (int i = 0; i < 2; i++) {
        struct output *o = output_find(p, ids[i]);
        if (o != NULL)
            o->clients = more ? o->clients + 1 : o->clients - 1;
    }
}

void client_link(struct pump *p, struct client *c, uint32_t id) {
    unit_link(p, &c->unit, id, PUMP_CLIENT);
    count_outputs(p, c, true);
    unit_dirty(p, &c->unit);
}

void client_free(struct pump *p, struct client *c) {
    if (c->unit.id != 0 && !p->freeing) {
        count_outputs(p, c, false);
        outputs_dirty(p, c);
    }
    unit_unlink(p, &c->unit);
    slot_close(p, &c->slot);
    bytes_drop(p, &c->queue);
    free(c);
}

void client_gone(struct pump *p, struct client *c, enum pump_client_gone why) {
    if (why == PUMP_CLIENT_OUTPUT_ENDED) {
        shutdown(c->slot.fd, SHUT_WR);
        /* Bytes left unread would turn the end of file that the client is to see into a reset. */
        unsigned char *scratch = pump_scratch(p);
        for (int i = 0; scratch != NULL && i < 4; i++)
            if (recv(c->slot.fd, scratch, PUMP_SCRATCH_READ, MSG_DONTWAIT) <= 0)
                break;
    }
    event_add(p, PUMP_EV_CLIENT_GONE, c->unit.id, why);
    client_free(p, c);
}

static int add_check(struct pump *p, int fd, uint32_t input, uint32_t out, uint32_t err) {
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISSOCK(st.st_mode) || (out != 0 && out == err))
        return -EINVAL;
    if ((input != 0 && input_find(p, input) == NULL) || (out != 0 && output_find(p, out) == NULL) ||
        (err != 0 && output_find(p, err) == NULL))
        return -ENOENT;
    return fd_prepare(fd, true);
}

int pump_client_add(struct pump *p, uint32_t id, int fd, uint32_t input, uint32_t out, uint32_t err) {
    struct client *c = calloc(1, sizeof *c);
    if (c == NULL) {
        close_quietly(fd);
        return -ENOMEM;
    }
    c->slot.fd = fd;
    pump_lock(p);
    int rc = unit_id_check(p, id);
    if (rc == 0)
        rc = add_check(p, fd, input, out, err);
    if (rc == 0)
        rc = slot_want(p, &c->slot, EPOLLIN, id, ROLE_CLIENT);
    if (rc < 0) {
        client_free(p, c);
    } else {
        c->input = input;
        c->out = out;
        c->err = err;
        client_link(p, c, id);
        outputs_dirty(p, c);
    }
    pump_unlock(p);
    return rc;
}

int pump_client_remove(struct pump *p, uint32_t id) {
    pump_lock(p);
    struct unit *u = id == 0 ? NULL : unit_find(p, id);
    int rc = -ENOENT;
    if (u != NULL && u->kind == PUMP_CLIENT) {
        client_free(p, (struct client *)u);
        rc = 0;
    }
    pump_unlock(p);
    return rc;
}
