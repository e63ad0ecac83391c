/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pump under random treatment: readers that come and go, slow clients, log rotation, drains, replacement in place. Not
 * one byte may be lost, doubled or reordered. The seed is printed; `pump_random_test <seed>` runs one again.
 */
#define _GNU_SOURCE
#include "pump_world.h"

enum { OUTPUTS_MAX = 5, CLIENTS_MAX = 4, ROTATIONS_MAX = 200 };

struct stream {
    uint32_t id;
    uint32_t seed;
    enum pump_sink kind;
    int write_fd;
    uint64_t written;
    uint64_t total;
    char path[128];
    char spool[128];
    char old[ROTATIONS_MAX][160];
    int rotations;
    int reader;
    struct text got;
    bool ended;
    bool finishing;
};

struct viewer {
    uint32_t id;
    int fd;
    struct stream *of;
    struct text raw;
};

static uint64_t random_state;

static uint32_t random_below(uint32_t limit) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 16) % limit;
}

/* CRI streams are text: newlines here and there, in some streams rarely, and no carriage returns. */
static void text_fill(const struct stream *s, uint64_t from, unsigned char *at, size_t n) {
    stream_fill(s->seed, from, at, n);
    for (size_t i = 0; i < n; i++) {
        if (at[i] == '\n' || at[i] == '\r')
            at[i] = '.';
        else if (at[i] < 4 && (s->seed % 3 != 0 || stream_byte(s->seed + 1, from + i) < 2))
            at[i] = '\n';
    }
}

static void fill(const struct stream *s, uint64_t from, unsigned char *at, size_t n) {
    if (s->kind == PUMP_SINK_CRI)
        text_fill(s, from, at, n);
    else
        stream_fill(s->seed, from, at, n);
}

static void check_bytes(const struct stream *s, uint64_t from, const unsigned char *at, size_t n) {
    unsigned char wanted[4096];
    for (size_t done = 0; done < n;) {
        size_t part = n - done < sizeof wanted ? n - done : sizeof wanted;
        fill(s, from + done, wanted, part);
        CHECK(memcmp(wanted, at + done, part) == 0);
        done += part;
    }
}

static void produce(struct stream *s) {
    unsigned char buffer[40000];
    size_t n = 1 + random_below(random_below(3) == 0 ? sizeof buffer : 300);
    if (s->write_fd < 0)
        return;
    if (s->written + n > s->total)
        n = (size_t)(s->total - s->written);
    fill(s, s->written, buffer, n);
    ssize_t wrote = write(s->write_fd, buffer, n);
    if (wrote > 0)
        s->written += (uint64_t)wrote;
    if (s->written == s->total) {
        close(s->write_fd);
        s->write_fd = -1;
    }
}

static void add_stream(struct world *w, struct stream *s, uint32_t id, uint64_t total) {
    static const enum pump_sink kinds[] = {PUMP_SINK_FIFO, PUMP_SINK_FIFO, PUMP_SINK_FILE, PUMP_SINK_CRI, PUMP_SINK_CRI, PUMP_SINK_FD};
    int source[2], sink[2] = {-1, -1};
    memset(s, 0, sizeof *s);
    s->id = id;
    s->seed = random_below(1000000);
    s->kind = kinds[random_below(6)];
    s->total = total;
    s->reader = -1;
    make_pipe(source);
    s->write_fd = source[1];
    snprintf(s->path, sizeof s->path, "%s/sink%u", w->folder, id);
    snprintf(s->spool, sizeof s->spool, "%s/spool%u", w->folder, id);
    struct pump_output o = {.id = id, .source = source[0], .sink = s->kind, .path = s->path, .sink_fd = -1, .cri_stream = "stdout"};
    if (s->kind == PUMP_SINK_FIFO) {
        CHECK(mkfifo(s->path, 0600) == 0);
        o.spool_path = s->spool;
        o.spool_limit = random_below(3) == 0 ? 64 << 20 : random_below(300000);
    } else if (s->kind == PUMP_SINK_FD) {
        make_pipe(sink);
        o.sink_fd = sink[1];
        s->reader = sink[0];
        CHECK(fcntl(sink[0], F_SETFL, O_NONBLOCK) == 0);
    } else if (s->kind == PUMP_SINK_CRI && random_below(4) == 0) {
        o.log_max_bytes = 0;
    }
    CHECK_EQUAL(pump_output_add(w->p, &o), 0);
}

static void consume(struct stream *s, bool to_the_end) {
    if (s->reader < 0 && s->kind == PUMP_SINK_FIFO && !s->ended && (to_the_end || random_below(20) == 0))
        s->reader = open_reader(s->path);
    if (s->reader < 0)
        return;
    /* A reader that comes before the pump has looked sees an end of file only if the pump has closed. */
    read_some(s->reader, &s->got, to_the_end ? SIZE_MAX : random_below(60000), NULL);
    if (!to_the_end && !s->ended && s->kind == PUMP_SINK_FIFO && random_below(40) == 0) {
        close(s->reader);
        s->reader = -1;
    }
}

static void rotate(struct world *w, struct stream *s) {
    bool is_file = s->kind == PUMP_SINK_FILE || s->kind == PUMP_SINK_CRI;
    if (!is_file || s->ended || s->rotations == ROTATIONS_MAX)
        return;
    char *old = s->old[s->rotations];
    snprintf(old, sizeof s->old[0], "%s.%d", s->path, s->rotations);
    CHECK(rename(s->path, old) == 0);
    s->rotations++;
    int rc = pump_output_reopen(w->p, s->id);
    if (rc == -ENOENT) { /* it has just ended */
        int fd = open(s->path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
        close(fd);
    } else {
        CHECK_EQUAL(rc, 0);
    }
}

static void view(struct world *w, struct viewer *v, uint32_t id, struct stream *s) {
    if (v->fd >= 0) {
        read_some(v->fd, &v->raw, random_below(80000), NULL);
        return;
    }
    if (s->ended || v->of != NULL)
        return;
    int ends[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0);
    if (pump_client_add(w->p, id, ends[0], 0, s->id, 0) < 0) {
        close(ends[1]);
        return;
    }
    v->fd = ends[1];
    v->id = id;
    v->of = s;
}

/* What a client saw is one unbroken piece of the stream. */
static void check_viewer(const struct viewer *v) {
    struct text t = {0};
    for (size_t at = 0; at + 5 <= v->raw.length;) {
        size_t n = (size_t)v->raw.at[at + 2] << 16 | (size_t)v->raw.at[at + 3] << 8 | v->raw.at[at + 4];
        CHECK(v->raw.at[at] == 1);
        if (at + 5 + n > v->raw.length)
            n = v->raw.length - at - 5;
        text_add(&t, v->raw.at + at + 5, n);
        at += 5 + n;
    }
    if (t.length > 64) {
        unsigned char *all = malloc((size_t)v->of->written);
        CHECK(all != NULL);
        fill(v->of, 0, all, (size_t)v->of->written);
        CHECK(memmem(all, (size_t)v->of->written, t.at, t.length) != NULL);
        free(all);
    }
    text_free(&t);
}

static void cri_decode(const struct text *log, struct text *plain) {
    for (size_t at = 0; at < log->length;) {
        const unsigned char *newline = memchr(log->at + at, '\n', log->length - at);
        CHECK(newline != NULL);
        const char *entry = (const char *)log->at + at;
        CHECK(memcmp(entry + PUMP_TIMESTAMP_LENGTH, " stdout ", 8) == 0);
        char tag = entry[PUMP_TIMESTAMP_LENGTH + 8];
        const char *line = entry + PUMP_TIMESTAMP_LENGTH + 10;
        size_t length = (size_t)((const char *)newline - line);
        CHECK(length <= 16384 && (tag == 'F' || tag == 'P'));
        text_add(plain, line, length);
        if (tag == 'F')
            text_add(plain, "\n", 1);
        at += (size_t)((const char *)newline - entry) + 1;
    }
}

static void check_result(struct stream *s) {
    struct text all = {0}, plain = {0};
    if (s->kind == PUMP_SINK_FIFO || s->kind == PUMP_SINK_FD) {
        CHECK_EQUAL(s->got.length, s->total);
        check_bytes(s, 0, s->got.at, s->got.length);
        text_free(&s->got);
        return;
    }
    for (int i = 0; i <= s->rotations; i++) {
        struct text part = file_text(i < s->rotations ? s->old[i] : s->path);
        text_add(&all, part.at, part.length);
        text_free(&part);
    }
    if (s->kind == PUMP_SINK_CRI)
        cri_decode(&all, &plain);
    else
        text_add(&plain, all.at, all.length);
    CHECK_EQUAL(plain.length, s->total);
    check_bytes(s, 0, plain.at, plain.length);
    text_free(&all);
    text_free(&plain);
}

static void note_ends(struct world *w, struct stream *streams, uint32_t count) {
    for (int i = 0; i < w->logged; i++) {
        struct pump_event e = w->log[i];
        if (e.kind == PUMP_EV_OUTPUT_ENDED) {
            CHECK(e.id >= 1 && e.id <= count);
            CHECK_EQUAL(e.value, 0);
            streams[e.id - 1].ended = true;
        }
        CHECK(e.kind != PUMP_EV_SINK_ERROR);
        CHECK(e.kind != PUMP_EV_CLIENT_GONE || e.value != PUMP_CLIENT_PROTOCOL);
    }
    w->logged = 0;
}

static void run_seed(uint64_t seed) {
    struct world w;
    static struct stream streams[OUTPUTS_MAX];
    struct viewer viewers[CLIENTS_MAX];
    random_state = seed * 0x9e3779b97f4a7c15u + 1;
    world_begin(&w);
    uint32_t count = 1 + random_below(OUTPUTS_MAX);
    for (uint32_t i = 0; i < count; i++)
        add_stream(&w, &streams[i], i + 1, 65536 + random_below(1500000));
    for (int i = 0; i < CLIENTS_MAX; i++)
        viewers[i] = (struct viewer){.fd = -1};
    int64_t end = pump_now_ms() + 60000;
    uint32_t left = count;
    for (int round = 0; left > 0; round++) {
        CHECK(pump_now_ms() < end);
        bool hurry = round > 1500; /* enough of games: let it end */
        for (uint32_t i = 0; i < count; i++) {
            struct stream *s = &streams[i];
            for (int n = hurry ? 8 : 1; n > 0; n--)
                produce(s);
            consume(s, hurry);
            if (random_below(150) == 0)
                rotate(&w, s);
            if (random_below(100) == 0)
                pump_output_drain(w.p, s->id, random_below(30));
            if (s->write_fd < 0 && !s->finishing && (s->reader >= 0 || s->kind == PUMP_SINK_FILE || s->kind == PUMP_SINK_CRI) && hurry) {
                s->finishing = true;
                pump_output_finish(w.p, s->id, 30000);
            }
        }
        for (uint32_t i = 0; i < CLIENTS_MAX; i++) {
            if (random_below(20) == 0 || viewers[i].fd >= 0)
                view(&w, &viewers[i], 100 + i, &streams[random_below(count)]);
            if (viewers[i].fd >= 0 && !hurry && random_below(200) == 0) {
                close(viewers[i].fd);
                viewers[i].fd = -1;
            }
        }
        step(&w, 0);
        if (random_below(25) == 0)
            replace_pump(&w);
        note_ends(&w, streams, count);
        left = 0;
        for (uint32_t i = 0; i < count; i++)
            left += !streams[i].ended;
    }
    for (uint32_t i = 0; i < count; i++) {
        consume(&streams[i], true);
        close_quietly(streams[i].reader);
        check_result(&streams[i]);
    }
    for (int i = 0; i < CLIENTS_MAX; i++) {
        if (viewers[i].of != NULL)
            check_viewer(&viewers[i]);
        close_quietly(viewers[i].fd);
        text_free(&viewers[i].raw);
    }
    world_end(&w);
}

int main(int argc, char **argv) {
    signal(SIGPIPE, SIG_IGN);
    uint64_t first = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    uint64_t last = argc > 2 ? strtoull(argv[2], NULL, 10) : argc > 1 ? first : 25;
    for (uint64_t seed = first; seed <= last; seed++) {
        printf("# seed %llu\n", (unsigned long long)seed);
        fflush(stdout);
        run_seed(seed);
    }
    printf("ok - random treatment loses, doubles and reorders nothing\n");
    return 0;
}
