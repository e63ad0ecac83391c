/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pump as text, for the program that goes on after exec.
 *
 *   berth-pump 1
 *   output id=1 source=5 sink=6 kind=1 path=/run/x%20y rest=68656c6c6f …
 *   input …
 *   client …
 *   event kind=3 id=9 value=0
 *   end
 *
 * Text is percent-encoded, bytes are hexadecimal, times are what is left of them. Lines and keys that a reader does not
 * know are skipped; keys that are missing have their default (0, none), so that versions can differ.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pump_internal.h"

enum { TEXT_MAX = 256 * 1024 * 1024 };

static const char first_line[] = "berth-pump 1";

/* Writing. */

struct writer {
    int fd;
    int error;
    size_t length;
    char text[4096];
};

static void flush(struct writer *w) {
    size_t done = 0;
    while (done < w->length && w->error == 0) {
        ssize_t n = write(w->fd, w->text + done, w->length - done);
        if (n < 0 && errno != EINTR)
            w->error = -errno;
        if (n > 0)
            done += (size_t)n;
    }
    w->length = 0;
}

static void put(struct writer *w, const char *text, size_t length) {
    for (; length > 0; text++, length--) {
        if (w->length == sizeof w->text)
            flush(w);
        w->text[w->length++] = *text;
    }
}

static void put_text(struct writer *w, const char *text) {
    put(w, text, strlen(text));
}

static void put_number(struct writer *w, const char *key, int64_t value) {
    char text[64];
    if (value != 0)
        put(w, text, (size_t)snprintf(text, sizeof text, " %s=%" PRId64, key, value));
}

static void put_key(struct writer *w, const char *key) {
    put_text(w, " ");
    put_text(w, key);
    put_text(w, "=");
}

static void put_hex(struct writer *w, unsigned char byte) {
    static const char digits[] = "0123456789abcdef";
    put(w, &digits[byte >> 4], 1);
    put(w, &digits[byte & 15], 1);
}

static void put_string(struct writer *w, const char *key, const char *value) {
    if (value == NULL)
        return;
    put_key(w, key);
    for (; *value != '\0'; value++) {
        bool plain = isalnum((unsigned char)*value) || strchr("/._-:@", *value) != NULL;
        if (plain) {
            put(w, value, 1);
        } else {
            put_text(w, "%");
            put_hex(w, (unsigned char)*value);
        }
    }
}

static void put_bytes(struct writer *w, const char *key, const unsigned char *at, size_t n) {
    if (n == 0)
        return;
    put_key(w, key);
    for (size_t i = 0; i < n; i++)
        put_hex(w, at[i]);
}

static void put_kept(struct writer *w, const char *key, const struct bytes *b) {
    if (b->block != NULL)
        put_bytes(w, key, b->block + b->start, bytes_length(b));
}

/* Descriptors are written plus one, as 0 is a descriptor and also what a missing key means. */
static void put_fd(struct writer *w, const char *key, int fd) {
    put_number(w, key, (int64_t)fd + 1);
}

static int64_t waited(const struct pump *p, int64_t since_ms) {
    return p->now_ms > since_ms ? p->now_ms - since_ms : 0;
}

static void put_wait(struct writer *w, const struct pump *p, const char *name, const struct wait *wait) {
    char key[32];
    if (wait->calls == 0)
        return;
    snprintf(key, sizeof key, "%s_calls", name);
    put_number(w, key, wait->calls);
    snprintf(key, sizeof key, "%s_grace_ms", name);
    put_number(w, key, wait->grace_ms);
    snprintf(key, sizeof key, "%s_target", name);
    put_number(w, key, (int64_t)wait->target);
    snprintf(key, sizeof key, "%s_given", name);
    put_number(w, key, (int64_t)wait->given);
    snprintf(key, sizeof key, "%s_fifo_bytes", name);
    put_number(w, key, wait->fifo_bytes);
    snprintf(key, sizeof key, "%s_waited_ms", name);
    put_number(w, key, waited(p, wait->since_ms));
}

static void save_output(struct writer *w, const struct pump *p, const struct output *o) {
    put_text(w, "output");
    put_number(w, "id", o->unit.id);
    put_number(w, "kind", o->kind);
    put_fd(w, "source_fd", o->source.fd);
    put_fd(w, "sink_fd", o->sink.fd);
    put_fd(w, "spool_fd", o->spool_fd);
    put_number(w, "pty", o->pty);
    put_number(w, "may_splice", o->may_splice);
    put_number(w, "reader_gone", o->reader_gone);
    put_number(w, "stalled", o->stalled);
    put_number(w, "spooling", o->spooling);
    put_number(w, "eof", o->eof);
    put_number(w, "broken", o->broken);
    put_number(w, "failing", o->failing);
    put_number(w, "error_told", o->error_told);
    put_number(w, "first_errno", o->first_errno);
    put_string(w, "path", o->path);
    put_string(w, "stream", o->stream);
    put_string(w, "spool_path", o->spool_path);
    put_number(w, "spool_limit", (int64_t)o->spool_limit);
    put_number(w, "log_max_bytes", (int64_t)o->log_max_bytes);
    put_number(w, "spool_start", (int64_t)o->spool_start);
    put_number(w, "spool_end", (int64_t)o->spool_end);
    put_number(w, "taken", (int64_t)o->taken);
    put_number(w, "given", (int64_t)o->given);
    put_wait(w, p, "drain", &o->drain);
    put_wait(w, p, "finish", &o->finish);
    put_kept(w, "rest", &o->rest);
    put_bytes(w, "hold", o->hold, o->hold_length);
    put_text(w, "\n");
}

static void save_input(struct writer *w, const struct input *in) {
    put_text(w, "input");
    put_number(w, "id", in->unit.id);
    put_fd(w, "dest_fd", in->dest.fd);
    put_fd(w, "fifo_fd", in->fifo.fd);
    put_fd(w, "fifo_write_fd", in->fifo_write_fd);
    put_number(w, "pty", in->pty);
    put_number(w, "closing", in->closing);
    put_number(w, "close_left", (int64_t)in->close_left);
    put_number(w, "last", in->last);
    put_kept(w, "rest", &in->rest);
    put_text(w, "\n");
}

static void save_client(struct writer *w, const struct pump *p, const struct client *c) {
    put_text(w, "client");
    put_number(w, "id", c->unit.id);
    put_fd(w, "fd", c->slot.fd);
    put_number(w, "input", c->input);
    put_number(w, "out", c->out);
    put_number(w, "err", c->err);
    put_number(w, "no_output", c->no_output);
    put_number(w, "half_closed", c->half_closed);
    put_number(w, "ending", c->ending);
    put_number(w, "broken", c->broken);
    put_bytes(w, "header", c->header, c->header_length);
    put_number(w, "payload_left", c->payload_left);
    put_number(w, "waited_ms", waited(p, c->since_ms));
    put_kept(w, "queue", &c->queue);
    put_text(w, "\n");
}

static void save_event(struct writer *w, const struct pump_event *e) {
    put_text(w, "event");
    put_number(w, "kind", e->kind);
    put_number(w, "id", e->id);
    put_number(w, "value", e->value);
    put_text(w, "\n");
}

int pump_save(struct pump *p, int fd) {
    pump_lock(p);
    p->now_ms = pump_now_ms();
    struct writer w = {.fd = fd};
    put_text(&w, first_line);
    put_text(&w, "\n");
    for (const struct unit *u = p->units; u != NULL; u = u->next) {
        if (u->kind == PUMP_OUTPUT)
            save_output(&w, p, (const struct output *)u);
        else if (u->kind == PUMP_INPUT)
            save_input(&w, (const struct input *)u);
    }
    for (const struct unit *u = p->units; u != NULL; u = u->next)
        if (u->kind == PUMP_CLIENT)
            save_client(&w, p, (const struct client *)u);
    for (size_t i = 0; i < p->event_count; i++)
        if (p->events[i].kind != PUMP_EV_READY)
            save_event(&w, &p->events[i]);
    put_text(&w, "end\n");
    flush(&w);
    pump_unlock(p);
    return w.error;
}

/* Reading. A line is cut into its words in place. */

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
    snprintf(fifo, sizeof fifo, "%s_fifo_bytes", name);
    snprintf(since_key, sizeof since_key, "%s_waited_ms", name);
    return (struct wait){
        .calls = number32(line, calls, bad),
        .grace_ms = number32(line, grace, bad),
        .target = number64(line, target, bad),
        .given = number64(line, given, bad),
        .fifo_bytes = (int)number(line, fifo, 0, INT32_MAX, bad),
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
        if (first && strcmp(text, first_line) != 0)
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

/* Descriptors. */

static void forget(int *fd) {
    *fd = -1;
}

void pump_abandon(struct pump *p) {
    for (struct unit *u = p->units; u != NULL; u = u->next) {
        if (u->kind == PUMP_OUTPUT) {
            struct output *o = (struct output *)u;
            forget(&o->source.fd);
            forget(&o->sink.fd);
            forget(&o->spool_fd);
        } else if (u->kind == PUMP_INPUT) {
            struct input *in = (struct input *)u;
            forget(&in->dest.fd);
            forget(&in->fifo.fd);
            forget(&in->fifo_write_fd);
        } else if (u->kind == PUMP_CLIENT) {
            forget(&((struct client *)u)->slot.fd);
        }
    }
    pump_free(p);
}

struct list {
    int *fds;
    int max;
    int count;
};

static void list_add(struct list *l, int fd) {
    if (fd < 0)
        return;
    if (l->count < l->max)
        l->fds[l->count] = fd;
    l->count++;
}

int pump_descriptors(struct pump *p, int *fds, int max) {
    struct list l = {.fds = fds, .max = max};
    pump_lock(p);
    for (const struct unit *u = p->units; u != NULL; u = u->next) {
        if (u->kind == PUMP_OUTPUT) {
            const struct output *o = (const struct output *)u;
            list_add(&l, o->source.fd);
            list_add(&l, o->sink.fd);
            list_add(&l, o->spool_fd);
        } else if (u->kind == PUMP_INPUT) {
            const struct input *in = (const struct input *)u;
            list_add(&l, in->dest.fd);
            list_add(&l, in->fifo.fd);
            list_add(&l, in->fifo_write_fd);
        } else if (u->kind == PUMP_CLIENT) {
            list_add(&l, ((const struct client *)u)->slot.fd);
        }
    }
    pump_unlock(p);
    return l.count;
}

int pump_is_idle(struct pump *p) {
    bool idle = true;
    pump_lock(p);
    idle = p->event_count == 0;
    for (const struct unit *u = p->units; u != NULL && idle; u = u->next) {
        if (u->kind == PUMP_OUTPUT) {
            const struct output *o = (const struct output *)u;
            idle = o->given == o->taken && o->hold_length == 0;
        } else if (u->kind == PUMP_INPUT) {
            const struct input *in = (const struct input *)u;
            idle = input_takes(in) && !in->closing;
        } else if (u->kind == PUMP_CLIENT) {
            const struct client *c = (const struct client *)u;
            idle = bytes_length(&c->queue) == 0 && c->header_length == 0;
        }
    }
    pump_unlock(p);
    return idle;
}
