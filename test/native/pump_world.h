/* SPDX-License-Identifier: Apache-2.0 */
/* What the pump's tests share: a pump with a folder of its own, its events, and the far ends of pipes. */
#ifndef BERTH_PUMP_WORLD_H
#define BERTH_PUMP_WORLD_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "../../src/native/pump_internal.h"

/* assert that stays in every build and says the numbers. */
#define CHECK(condition)                                                                             \
    do {                                                                                             \
        if (!(condition)) {                                                                          \
            printf("not ok - %s:%d: %s (errno %d)\n", __FILE__, __LINE__, #condition, errno);        \
            fflush(stdout);                                                                          \
            abort();                                                                                 \
        }                                                                                            \
    } while (0)

#define CHECK_EQUAL(got, wanted)                                                                     \
    do {                                                                                             \
        long long got_ = (long long)(got), wanted_ = (long long)(wanted);                            \
        if (got_ != wanted_) {                                                                       \
            printf("not ok - %s:%d: %s is %lld, not %lld\n", __FILE__, __LINE__, #got, got_, wanted_); \
            fflush(stdout);                                                                          \
            abort();                                                                                 \
        }                                                                                            \
    } while (0)

struct world {
    struct pump *p;
    char folder[64];
    struct pump_event log[4096];
    int logged;
    int steps;
};

struct text {
    unsigned char *at;
    size_t length;
    size_t room;
};

static inline void world_begin(struct world *w) {
    memset(w, 0, sizeof *w);
    strcpy(w->folder, "/tmp/berth-pump-XXXXXX");
    CHECK(mkdtemp(w->folder) != NULL);
    w->p = pump_new();
    CHECK(w->p != NULL);
}

static inline void world_end(struct world *w) {
    char command[128];
    pump_free(w->p);
    snprintf(command, sizeof command, "rm -rf '%s'", w->folder);
    CHECK(system(command) == 0);
}

static inline const char *path_in(struct world *w, const char *name) {
    static char paths[8][128];
    static int next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", w->folder, name);
    return path;
}

static inline const char *fifo_in(struct world *w, const char *name) {
    const char *path = path_in(w, name);
    CHECK(mkfifo(path, 0600) == 0);
    return path;
}

/* Returns whether there was nothing to do. */
static inline bool step(struct world *w, int timeout_ms) {
    struct pump_event events[8];
    int n = pump_step(w->p, timeout_ms, events, 8);
    CHECK(n >= 0);
    w->steps++;
    for (int i = 0; i < n; i++) {
        CHECK(w->logged < 4096);
        w->log[w->logged++] = events[i];
    }
    return n == 0 && w->p->dirty_count == 0 && w->p->worked_at_ms < w->p->now_ms;
}

/* Steps for at least this long, and until nothing happens for a moment. */
static inline void settle_for(struct world *w, int ms) {
    int64_t end = pump_now_ms() + ms;
    for (int quiet = 0; quiet < 3 || pump_now_ms() < end;) {
        CHECK(pump_now_ms() < end + 10000);
        quiet = step(w, 1) ? quiet + 1 : 0;
    }
}

static inline void settle(struct world *w) {
    settle_for(w, 8);
}

static inline int count_events(struct world *w, uint32_t kind, uint32_t id) {
    int n = 0;
    for (int i = 0; i < w->logged; i++)
        n += w->log[i].kind == kind && w->log[i].id == id;
    return n;
}

static inline int64_t event_value(struct world *w, uint32_t kind, uint32_t id) {
    for (int i = w->logged - 1; i >= 0; i--)
        if (w->log[i].kind == kind && w->log[i].id == id)
            return w->log[i].value;
    printf("not ok - no event %u for %u\n", kind, id);
    abort();
}

/* Waits for an event and returns its value. */
static inline int64_t await_event(struct world *w, uint32_t kind, uint32_t id) {
    int64_t end = pump_now_ms() + 10000;
    while (count_events(w, kind, id) == 0) {
        CHECK(pump_now_ms() < end);
        step(w, 50);
    }
    return event_value(w, kind, id);
}

static inline void text_add(struct text *t, const void *at, size_t n) {
    if (t->length + n + 1 > t->room) {
        t->room = (t->length + n + 1) * 2;
        t->at = realloc(t->at, t->room);
        CHECK(t->at != NULL);
    }
    memcpy(t->at + t->length, at, n);
    t->length += n;
    t->at[t->length] = '\0';
}

/* Reads what is there, at most `most` bytes; sets *ended at end of file. */
static inline size_t read_some(int fd, struct text *t, size_t most, bool *ended) {
    unsigned char buffer[65536];
    size_t total = 0;
    while (total < most) {
        size_t want = most - total < sizeof buffer ? most - total : sizeof buffer;
        ssize_t n = read(fd, buffer, want);
        if (n == 0 && ended != NULL)
            *ended = true;
        if (n <= 0)
            break;
        text_add(t, buffer, (size_t)n);
        total += (size_t)n;
    }
    return total;
}

/* Steps and reads until `length` bytes are there. */
static inline void read_until(struct world *w, int fd, struct text *t, size_t length) {
    int64_t end = pump_now_ms() + 20000;
    while (t->length < length) {
        CHECK(pump_now_ms() < end);
        if (read_some(fd, t, length - t->length, NULL) == 0)
            step(w, 5);
    }
}

/* Steps and reads until end of file. */
static inline void read_to_end(struct world *w, int fd, struct text *t) {
    int64_t end = pump_now_ms() + 20000;
    bool ended = false;
    while (!ended) {
        CHECK(pump_now_ms() < end);
        if (read_some(fd, t, SIZE_MAX, &ended) == 0 && !ended)
            step(w, 5);
    }
}

static inline struct text file_text(const char *path) {
    struct text t = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0);
    text_add(&t, "", 0);
    read_some(fd, &t, SIZE_MAX, NULL);
    close(fd);
    return t;
}

static inline void text_free(struct text *t) {
    free(t->at);
    *t = (struct text){0};
}

static inline void make_pipe(int ends[2]) {
    CHECK(pipe2(ends, O_CLOEXEC) == 0);
    CHECK(fcntl(ends[1], F_SETFL, O_NONBLOCK) == 0);
}

static inline void write_all(int fd, const void *at, size_t n) {
    CHECK_EQUAL(write(fd, at, n), (ssize_t)n);
}

static inline void write_text(int fd, const char *text) {
    write_all(fd, text, strlen(text));
}

static inline int open_reader(const char *path) {
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    CHECK(fd >= 0);
    return fd;
}

/* The byte at a place of an endless stream that repeats nowhere soon. */
static inline unsigned char stream_byte(uint32_t seed, uint64_t at) {
    uint64_t x = (at / 8 + 1) * 0x9e3779b97f4a7c15u + seed;
    x ^= x >> 29;
    x *= 0xbf58476d1ce4e5b9u;
    x ^= x >> 32;
    return (unsigned char)(x >> (at % 8 * 8));
}

static inline void stream_fill(uint32_t seed, uint64_t from, unsigned char *at, size_t n) {
    for (size_t i = 0; i < n; i++)
        at[i] = stream_byte(seed, from + i);
}

static inline void check_stream(uint32_t seed, uint64_t from, const unsigned char *at, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (at[i] != stream_byte(seed, from + i)) {
            printf("not ok - stream %u differs at byte %llu\n", seed, (unsigned long long)(from + i));
            abort();
        }
}

/* Writes of the stream what the pipe takes now, up to `n` bytes. */
static inline size_t write_stream(int fd, uint32_t seed, uint64_t *at, size_t n) {
    unsigned char buffer[8192];
    size_t total = 0;
    while (total < n) {
        size_t want = n - total < sizeof buffer ? n - total : sizeof buffer;
        stream_fill(seed, *at, buffer, want);
        ssize_t wrote = write(fd, buffer, want);
        if (wrote <= 0)
            break;
        *at += (uint64_t)wrote;
        total += (size_t)wrote;
    }
    return total;
}

/* What exec does to the pump: the memory is gone, the descriptors stay, another program takes over. */
static inline void replace_pump(struct world *w) {
    int fd = memfd_create("pump", MFD_CLOEXEC);
    CHECK(fd >= 0);
    CHECK_EQUAL(pump_save(w->p, fd), 0);
    uint32_t slow_ms = w->p->client_slow_ms;
    pump_abandon(w->p);
    CHECK(lseek(fd, 0, SEEK_SET) == 0);
    w->p = pump_load(fd);
    CHECK(w->p != NULL);
    w->p->client_slow_ms = slow_ms;
    close(fd);
}

/* A state in which nothing can move must not keep the processor busy. */
static inline void check_quiet(struct world *w) {
    settle_for(w, 20);
    settle_for(w, 0);
    int64_t end = pump_now_ms() + 200;
    int before = w->steps;
    while (pump_now_ms() < end)
        step(w, (int)(end - pump_now_ms()) + 1);
    int steps = w->steps - before;
    if (steps > 12) {
        printf("not ok - %d steps in 200 ms in which there was nothing to do\n", steps);
        abort();
    }
}

static inline void run_test(const char *name, void (*test)(void)) {
    test();
    printf("ok - %s\n", name);
    fflush(stdout);
}

#endif
