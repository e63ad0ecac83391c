/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The CRI log format: "<RFC 3339 time, 9 digits> <stream> <tag> <line>\n".
 *
 * Tag F ends a line, P says that the line goes on in the next entry of the same stream. As containerd writes it: a line longer
 * than PUMP_LINE_MAX is cut, a carriage return before the newline is dropped, and what follows the last newline when the
 * output ends has tag P.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <time.h>

#include "pump_internal.h"

enum { HEADER_MAX = PUMP_TIMESTAMP_LENGTH + 1 + 15 + 1 + 1 + 1, HOLD_MAX = PUMP_LINE_MAX + 1 };

/* Entries under construction. */
struct entries {
    struct pump *pump;
    struct output *output;
    unsigned char *text; /* PUMP_SCRATCH_TEXT bytes */
    size_t length;
    unsigned char header[HEADER_MAX];
    size_t header_length;
    size_t tag_at;
};

static void put_digits(char *at, int digits, uint64_t value) {
    while (digits-- > 0) {
        at[digits] = (char)('0' + value % 10);
        value /= 10;
    }
}

void cri_timestamp(char *at, int64_t seconds, long nanoseconds) {
    struct tm t;
    time_t whole = (time_t)seconds;
    gmtime_r(&whole, &t);
    memcpy(at, "0000-00-00T00:00:00.000000000Z", PUMP_TIMESTAMP_LENGTH);
    put_digits(at, 4, (uint64_t)(t.tm_year + 1900));
    put_digits(at + 5, 2, (uint64_t)(t.tm_mon + 1));
    put_digits(at + 8, 2, (uint64_t)t.tm_mday);
    put_digits(at + 11, 2, (uint64_t)t.tm_hour);
    put_digits(at + 14, 2, (uint64_t)t.tm_min);
    put_digits(at + 17, 2, (uint64_t)t.tm_sec);
    put_digits(at + 20, 9, (uint64_t)nanoseconds);
}

static bool entries_begin(struct entries *e, struct pump *p, struct output *o) {
    unsigned char *scratch = pump_scratch(p);
    if (scratch == NULL)
        return false;
    e->pump = p;
    e->output = o;
    e->text = scratch + PUMP_SCRATCH_READ;
    e->length = 0;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    char time_text[PUMP_TIMESTAMP_LENGTH];
    cri_timestamp(time_text, now.tv_sec, now.tv_nsec);
    size_t stream = strlen(o->stream);
    memcpy(e->header, time_text, PUMP_TIMESTAMP_LENGTH);
    e->header[PUMP_TIMESTAMP_LENGTH] = ' ';
    memcpy(e->header + PUMP_TIMESTAMP_LENGTH + 1, o->stream, stream);
    e->tag_at = PUMP_TIMESTAMP_LENGTH + 1 + stream + 1;
    e->header[e->tag_at - 1] = ' ';
    e->header[e->tag_at + 1] = ' ';
    e->header_length = e->tag_at + 2;
    return true;
}

/* Whole entries only go to the file, so that those of two streams never mix within a line. */
static void entries_flush(struct entries *e) {
    if (e->length == 0)
        return;
    int rc = e->output->broken ? 0 : file_write(e->pump, e->output, e->text, e->length, true);
    if (rc < 0)
        sink_failed(e->pump, e->output, -rc);
    e->length = 0;
}

/* One entry: `length` bytes, of which the first come from the output's hold and the others from `at`.
   Returns how many came from `at`. */
static size_t entry_add(struct entries *e, unsigned char tag, const unsigned char *at, size_t length) {
    struct output *o = e->output;
    if (e->length + e->header_length + length + 1 > PUMP_SCRATCH_TEXT)
        entries_flush(e);
    unsigned char *to = e->text + e->length;
    e->header[e->tag_at] = tag;
    memcpy(to, e->header, e->header_length);
    to += e->header_length;
    size_t held = length < o->hold_length ? length : o->hold_length;
    if (held > 0) {
        memcpy(to, o->hold, held);
        o->hold_length -= (uint32_t)held;
        memmove(o->hold, o->hold + held, o->hold_length);
        to += held;
    }
    if (length > held)
        memcpy(to, at, length - held);
    to += length - held;
    *to++ = '\n';
    e->length = (size_t)(to - e->text);
    return length - held;
}

static void hold_drop(struct output *o) {
    free(o->hold);
    o->hold = NULL;
    o->hold_length = 0;
}

/* Keeps the start of a line. Without memory for it the line is cut here. */
static void hold_add(struct entries *e, const unsigned char *at, size_t n) {
    struct output *o = e->output;
    if (n == 0)
        return;
    if (o->hold == NULL)
        o->hold = malloc(HOLD_MAX);
    if (o->hold == NULL) {
        entry_add(e, 'P', at, n);
        return;
    }
    memcpy(o->hold + o->hold_length, at, n);
    o->hold_length += (uint32_t)n;
}

/* Whether hold + at[0..n) is one byte over the limit, and that byte may be half of a CR LF. */
static bool ends_in_return(const struct output *o, const unsigned char *at, size_t n) {
    if (n > 0)
        return at[n - 1] == '\r';
    return o->hold_length > 0 && o->hold[o->hold_length - 1] == '\r';
}

static void line_whole(struct entries *e, const unsigned char *at, size_t n) {
    struct output *o = e->output;
    size_t total = o->hold_length + n;
    if (ends_in_return(o, at, n))
        total--;
    while (total > PUMP_LINE_MAX) {
        at += entry_add(e, 'P', at, PUMP_LINE_MAX);
        total -= PUMP_LINE_MAX;
    }
    entry_add(e, 'F', at, total);
    if (o->hold != NULL)
        hold_drop(o);
}

static void line_unfinished(struct entries *e, const unsigned char *at, size_t n) {
    struct output *o = e->output;
    size_t total = o->hold_length + n;
    while (total > PUMP_LINE_MAX && !(total == HOLD_MAX && ends_in_return(o, at, n))) {
        size_t used = entry_add(e, 'P', at, PUMP_LINE_MAX);
        at += used;
        n -= used;
        total -= PUMP_LINE_MAX;
    }
    hold_add(e, at, n);
}

void cri_consume(struct pump *p, struct output *o, const unsigned char *at, size_t n) {
    struct entries e;
    if (!entries_begin(&e, p, o))
        return; /* not reached: the bytes were read into the same scratch memory */
    const unsigned char *end = at + n;
    while (at < end) {
        const unsigned char *newline = memchr(at, '\n', (size_t)(end - at));
        if (newline == NULL) {
            line_unfinished(&e, at, (size_t)(end - at));
            break;
        }
        line_whole(&e, at, (size_t)(newline - at));
        at = newline + 1;
    }
    entries_flush(&e);
}

void cri_end(struct pump *p, struct output *o) {
    struct entries e;
    if (o->hold_length == 0 || !entries_begin(&e, p, o))
        return;
    while (o->hold_length > 0)
        entry_add(&e, 'P', NULL, o->hold_length < PUMP_LINE_MAX ? o->hold_length : PUMP_LINE_MAX);
    entries_flush(&e);
    hold_drop(o);
}
