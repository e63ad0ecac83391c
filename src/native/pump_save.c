/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pump as text, for the program that goes on after exec.
 *
 *   berth-pump 1
 *   output id=1 source_fd=6 sink_fd=7 kind=1 path=/run/x%20y rest=68656c6c6f …
 *   input …
 *   client …
 *   event kind=3 id=9 value=0
 *   end
 *
 * Text is percent-encoded, bytes are hexadecimal, times are how long something has waited, descriptors are written plus one. Lines
 * and keys that a reader does not know are skipped; keys that are missing have their default (0, none), so that versions
 * can differ.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "pump_internal.h"

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
    snprintf(key, sizeof key, "%s_sink_bytes", name);
    put_number(w, key, wait->sink_bytes);
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
    put_text(&w, PUMP_STATE_FIRST_LINE);
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
