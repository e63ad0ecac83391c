/* SPDX-License-Identifier: Apache-2.0 */
/* The counterpart of pump_save.c. The text comes from the same process, but perhaps from another version: it is checked. */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pump_internal.h"

enum { TEXT_MAX = 256 * 1024 * 1024 };

/* A line, cut into its words in place. */
struct line {
    char *kind;
    char *fields; /* "key=value" words, each ended by NUL */
    char *end;
};

static const char *field(const struct line *line, const char *key) {
    size_t length = strlen(key);
    for (const char *at = line->fields; at < line->end; at += strlen(at) + 1)
        if (strncmp(at, key, length) == 0 && at[length] == '=')
            return at + length + 1;
    return NULL;
}

/* Sets *bad if the value is there but no number between low and high. */
static int64_t number(const struct line *line, const char *key, int64_t low, int64_t high, bool *bad) {
    const char *text = field(line, key);
    if (text == NULL)
        return 0;
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || value < low || value > high) {
        *bad = true;
        return 0;
    }
    return value;
}

static bool flag(const struct line *line, const char *key, bool *bad) {
    return number(line, key, 0, 1, bad) != 0;
}

static uint32_t number32(const struct line *line, const char *key, bool *bad) {
    return (uint32_t)number(line, key, 0, UINT32_MAX, bad);
}

static uint64_t number64(const struct line *line, const char *key, bool *bad) {
    return (uint64_t)number(line, key, 0, INT64_MAX, bad);
}

/* -1 if there is none. */
static int descriptor(const struct line *line, const char *key, bool *bad) {
    int fd = (int)number(line, key, 0, INT32_MAX, bad) - 1;
    if (fd >= 0 && fd_prepare(fd, false) < 0)
        *bad = true;
    return fd;
}

static int hex_value(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return -1;
}

static char *string(const struct line *line, const char *key, bool *bad) {
    const char *text = field(line, key);
    if (text == NULL)
        return NULL;
    char *value = malloc(strlen(text) + 1);
    if (value == NULL) {
        *bad = true;
        return NULL;
    }
    char *to = value;
    while (*text != '\0') {
        if (*text != '%') {
            *to++ = *text++;
            continue;
        }
        int high = hex_value(text[1]);
        int low = high < 0 ? -1 : hex_value(text[2]);
        if (low < 0) {
            *bad = true;
            break;
        }
        *to++ = (char)(high << 4 | low);
        text += 3;
    }
    *to = '\0';
    return value;
}

/* Returns how many bytes. */
static size_t bytes_of(const struct line *line, const char *key, unsigned char *to, size_t max, bool *bad) {
    const char *text = field(line, key);
    size_t n = 0;
    for (; text != NULL && *text != '\0'; text += 2, n++) {
        int high = hex_value(text[0]);
        int low = high < 0 ? -1 : hex_value(text[1]);
        if (low < 0 || n == max) {
            *bad = true;
            return n;
        }
        to[n] = (unsigned char)(high << 4 | low);
    }
    return n;
}

static struct bytes kept(struct pump *p, const struct line *line, const char *key, bool *bad) {
    struct bytes b = {0};
    if (field(line, key) == NULL)
        return b;
    b.block = block_take(p);
    if (b.block == NULL)
        *bad = true;
    else
        b.end = (uint32_t)bytes_of(line, key, b.block, PUMP_BLOCK, bad);
    if (b.end == 0)
        bytes_drop(p, &b);
    return b;
}

static int64_t since(const struct pump *p, const struct line *line, const char *key, bool *bad) {
    return p->now_ms - number(line, key, 0, INT64_MAX / 2, bad);
}

static struct wait wait_of(const struct pump *p, const struct line *line, const char *name, bool *bad) {
    char calls[32], grace[32], target[32], given[32], fifo[32], since_key[32];
    snprintf(calls, sizeof calls, "%s_calls", name);
    snprintf(grace, sizeof grace, "%s_grace_ms", name);
    snprintf(target, sizeof target, "%s_target", name);
    snprintf(given, sizeof given, "%s_given", name);
    snprintf(fifo, sizeof fifo, "%s_sink_bytes", name);
    snprintf(since_key, sizeof since_key, "%s_waited_ms", name);
    return (struct wait){
        .calls = number32(line, calls, bad),
        .grace_ms = number32(line, grace, bad),
        .target = number64(line, target, bad),
        .given = number64(line, given, bad),
        .sink_bytes = (int)number(line, fifo, 0, INT32_MAX, bad),
        .since_ms = since(p, line, since_key, bad),
    };
}

static bool load_id(struct pump *p, struct unit *u, const struct line *line, enum pump_unit_kind kind, bool *bad) {
    uint32_t id = number32(line, "id", bad);
    if (*bad || unit_id_check(p, id) < 0) {
        *bad = true;
        return false;
    }
    u->id = id;
    u->kind = kind;
    return true;
}

static bool output_makes_sense(const struct output *o) {
    bool by_path = o->kind == PUMP_SINK_FIFO || o->kind == PUMP_SINK_FILE || o->kind == PUMP_SINK_CRI;
    if ((by_path && o->path == NULL) || (o->kind != PUMP_SINK_NULL && o->sink.fd < 0))
        return false;
    if (o->kind == PUMP_SINK_CRI && (o->stream == NULL || strlen(o->stream) > 15))
        return false;
    if (o->spool_start > o->spool_end || (o->spool_end > 0 && o->spool_fd < 0) || (o->spool_fd >= 0 && o->spool_path == NULL))
        return false;
    return o->eof || o->source.fd >= 0;
}

/* The objects are linked even if they are bad, so that pump_abandon finds them. */
static int load_output(struct pump *p, const struct line *line) {
    struct output *o = calloc(1, sizeof *o);
    bool bad = false;
    if (o == NULL)
        return -ENOMEM;
    if (!load_id(p, &o->unit, line, PUMP_OUTPUT, &bad)) {
        free(o);
        return -EINVAL;
    }
    unit_link(p, &o->unit, o->unit.id, PUMP_OUTPUT);
    o->kind = (enum pump_sink)number(line, "kind", PUMP_SINK_NULL, PUMP_SINK_FD, &bad);
    o->source.fd = descriptor(line, "source_fd", &bad);
    o->sink.fd = descriptor(line, "sink_fd", &bad);
    o->spool_fd = descriptor(line, "spool_fd", &bad);
    o->pty = flag(line, "pty", &bad);
    o->may_splice = flag(line, "may_splice", &bad);
    o->reader_gone = flag(line, "reader_gone", &bad);
    o->stalled = flag(line, "stalled", &bad);
    o->spooling = flag(line, "spooling", &bad);
    o->eof = flag(line, "eof", &bad);
    o->broken = flag(line, "broken", &bad);
    o->failing = flag(line, "failing", &bad);
    o->error_told = flag(line, "error_told", &bad);
    o->first_errno = (int)number(line, "first_errno", 0, INT32_MAX, &bad);
    o->path = string(line, "path", &bad);
    o->stream = string(line, "stream", &bad);
    o->spool_path = string(line, "spool_path", &bad);
    o->spool_limit = number64(line, "spool_limit", &bad);
    o->log_max_bytes = number64(line, "log_max_bytes", &bad);
    o->spool_start = number64(line, "spool_start", &bad);
    o->spool_end = number64(line, "spool_end", &bad);
    o->taken = number64(line, "taken", &bad);
    o->given = number64(line, "given", &bad);
    o->drain = wait_of(p, line, "drain", &bad);
    o->finish = wait_of(p, line, "finish", &bad);
    o->rest = kept(p, line, "rest", &bad);
    if (field(line, "hold") != NULL && (o->hold = malloc(PUMP_LINE_MAX + 1)) != NULL)
        o->hold_length = (uint32_t)bytes_of(line, "hold", o->hold, PUMP_LINE_MAX + 1, &bad);
    return bad || !output_makes_sense(o) ? -EINVAL : 0;
}

static int load_input(struct pump *p, const struct line *line) {
    struct input *in = calloc(1, sizeof *in);
    bool bad = false;
    if (in == NULL)
        return -ENOMEM;
    if (!load_id(p, &in->unit, line, PUMP_INPUT, &bad)) {
        free(in);
        return -EINVAL;
    }
    unit_link(p, &in->unit, in->unit.id, PUMP_INPUT);
    in->dest.fd = descriptor(line, "dest_fd", &bad);
    in->fifo.fd = descriptor(line, "fifo_fd", &bad);
    in->fifo_write_fd = descriptor(line, "fifo_write_fd", &bad);
    in->pty = flag(line, "pty", &bad);
    in->closing = flag(line, "closing", &bad);
    in->close_left = number64(line, "close_left", &bad);
    in->last = number32(line, "last", &bad);
    in->rest = kept(p, line, "rest", &bad);
    return bad || in->dest.fd < 0 ? -EINVAL : 0;
}

static int load_client(struct pump *p, const struct line *line) {
    struct client *c = calloc(1, sizeof *c);
    bool bad = false;
    if (c == NULL)
        return -ENOMEM;
    if (!load_id(p, &c->unit, line, PUMP_CLIENT, &bad)) {
        free(c);
        return -EINVAL;
    }
    c->input = number32(line, "input", &bad);
    c->out = number32(line, "out", &bad);
    c->err = number32(line, "err", &bad);
    client_link(p, c, c->unit.id);
    c->slot.fd = descriptor(line, "fd", &bad);
    c->no_output = flag(line, "no_output", &bad);
    c->half_closed = flag(line, "half_closed", &bad);
    c->ending = flag(line, "ending", &bad);
    c->broken = flag(line, "broken", &bad);
    c->header_length = (uint32_t)bytes_of(line, "header", c->header, PUMP_FRAME_HEADER - 1, &bad);
    c->payload_left = (uint32_t)number(line, "payload_left", 0, PUMP_FRAME_MAX, &bad);
    c->since_ms = since(p, line, "waited_ms", &bad);
    c->queue = kept(p, line, "queue", &bad);
    return bad || c->slot.fd < 0 ? -EINVAL : 0;
}

static int load_event(struct pump *p, const struct line *line) {
    bool bad = false;
    uint32_t kind = number32(line, "kind", &bad);
    uint32_t id = number32(line, "id", &bad);
    int64_t value = number(line, "value", INT64_MIN, INT64_MAX, &bad);
    if (!bad)
        event_add(p, (enum pump_event_kind)kind, id, value);
    return bad ? -EINVAL : 0;
}

static int load_line(struct pump *p, const struct line *line) {
    if (strcmp(line->kind, "output") == 0)
        return load_output(p, line);
    if (strcmp(line->kind, "input") == 0)
        return load_input(p, line);
    if (strcmp(line->kind, "client") == 0)
        return load_client(p, line);
    if (strcmp(line->kind, "event") == 0)
        return load_event(p, line);
    return 0;
}

static int load_lines(struct pump *p, char *text) {
    bool first = true;
    for (char *next; (next = strchr(text, '\n')) != NULL; text = next + 1) {
        *next = '\0';
        if (first && strcmp(text, PUMP_STATE_FIRST_LINE) != 0)
            return -EINVAL;
        if (first) {
            first = false;
            continue;
        }
        if (strcmp(text, "end") == 0)
            return 0;
        struct line line = {.kind = text, .end = next};
        for (char *at = text; at < next; at++)
            if (*at == ' ')
                *at = '\0';
        line.fields = text + strlen(text) + 1;
        int rc = load_line(p, &line);
        if (rc < 0)
            return rc;
    }
    return -EINVAL; /* cut off */
}

static int read_all(int fd, char **text) {
    size_t room = 65536, length = 0;
    char *at = malloc(room);
    for (;;) {
        if (at != NULL && length + 1 == room && room < TEXT_MAX) {
            char *more = realloc(at, room * 2);
            if (more == NULL)
                free(at);
            at = more;
            room *= 2;
        }
        if (at == NULL)
            return -ENOMEM;
        ssize_t n = length + 1 == room ? -1 : read(fd, at + length, room - 1 - length);
        if (length + 1 == room)
            errno = EFBIG;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            int error = errno;
            free(at);
            return -error;
        }
        if (n == 0)
            break;
        length += (size_t)n;
    }
    at[length] = '\0';
    *text = at;
    return 0;
}

struct pump *pump_load(int fd) {
    char *text = NULL;
    struct pump *p = NULL;
    int rc = read_all(fd, &text);
    if (rc == 0 && (p = pump_new()) == NULL)
        rc = -errno;
    if (rc == 0)
        rc = load_lines(p, text);
    free(text);
    if (rc < 0) {
        if (p != NULL)
            pump_abandon(p);
        errno = -rc;
        return NULL;
    }
    for (struct unit *u = p->units; u != NULL; u = u->next)
        unit_dirty(p, u);
    return p;
}
