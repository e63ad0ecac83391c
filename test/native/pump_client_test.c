/* SPDX-License-Identifier: Apache-2.0 */
/* The pump: attach clients. */
#define _GNU_SOURCE
#include "pump_world.h"

/* The far end of an attach socket. */
struct peer {
    int fd;
    struct text raw;
    size_t parsed;
    struct text streams[3]; /* 1: stdout, 2: stderr */
    bool ended;
};

static void attach(struct world *w, struct peer *peer, uint32_t id, uint32_t input, uint32_t out, uint32_t err) {
    int ends[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    CHECK(fcntl(ends[1], F_SETFL, O_NONBLOCK) == 0);
    *peer = (struct peer){.fd = ends[1]};
    CHECK_EQUAL(pump_client_add(w->p, id, ends[0], input, out, err), 0);
}

static void peer_parse(struct peer *peer) {
    while (peer->raw.length - peer->parsed >= 5) {
        const unsigned char *h = peer->raw.at + peer->parsed;
        size_t length = (size_t)h[1] << 24 | (size_t)h[2] << 16 | (size_t)h[3] << 8 | h[4];
        CHECK(h[0] == 1 || h[0] == 2);
        CHECK(length > 0 && length <= 65536);
        if (peer->raw.length - peer->parsed < 5 + length)
            return;
        text_add(&peer->streams[h[0]], h + 5, length);
        peer->parsed += 5 + length;
    }
}

static size_t peer_read(struct peer *peer, size_t most) {
    size_t n = read_some(peer->fd, &peer->raw, most, &peer->ended);
    peer_parse(peer);
    return n;
}

static void peer_read_until(struct world *w, struct peer *peer, int stream, size_t length) {
    int64_t end = pump_now_ms() + 10000;
    while (peer->streams[stream].length < length) {
        CHECK(pump_now_ms() < end);
        if (peer_read(peer, SIZE_MAX) == 0)
            step(w, 5);
    }
}

static void peer_read_to_end(struct world *w, struct peer *peer) {
    int64_t end = pump_now_ms() + 10000;
    while (!peer->ended) {
        CHECK(pump_now_ms() < end);
        errno = 0;
        if (peer_read(peer, SIZE_MAX) == 0 && !peer->ended) {
            CHECK(errno != ECONNRESET);
            step(w, 5);
        }
    }
}

static void peer_close(struct peer *peer) {
    close(peer->fd);
    text_free(&peer->raw);
    text_free(&peer->streams[1]);
    text_free(&peer->streams[2]);
}

static bool peer_send(struct peer *peer, unsigned char kind, const void *at, size_t n) {
    unsigned char frame[5 + 65536] = {kind, (unsigned char)(n >> 24), (unsigned char)(n >> 16), (unsigned char)(n >> 8), (unsigned char)n};
    CHECK(n <= 65536);
    memcpy(frame + 5, at, n);
    ssize_t sent = send(peer->fd, frame, 5 + n, MSG_NOSIGNAL);
    CHECK(sent < 0 || sent == (ssize_t)(5 + n));
    return sent > 0;
}

static void add_null_output(struct world *w, uint32_t id, int *write_end) {
    int source[2];
    make_pipe(source);
    struct pump_output o = {.id = id, .source = source[0], .sink = PUMP_SINK_NULL, .sink_fd = -1};
    CHECK_EQUAL(pump_output_add(w->p, &o), 0);
    *write_end = source[1];
}

static void add_input(struct world *w, uint32_t id, const char *fifo, int *read_end) {
    int dest[2];
    make_pipe(dest);
    CHECK(fcntl(dest[0], F_SETFL, O_NONBLOCK) == 0);
    struct pump_input i = {.id = id, .dest = dest[1], .fifo_path = fifo};
    CHECK_EQUAL(pump_input_add(w->p, &i), 0);
    *read_end = dest[0];
}

static void clients_see_both_streams(void) {
    struct world w;
    world_begin(&w);
    int out, err;
    const char *path = fifo_in(&w, "out");
    int reader = open_reader(path), source[2];
    make_pipe(source);
    struct pump_output o = {.id = 1, .source = source[0], .sink = PUMP_SINK_FIFO, .path = path, .sink_fd = -1};
    CHECK_EQUAL(pump_output_add(w.p, &o), 0);
    out = source[1];
    add_null_output(&w, 2, &err);
    write_text(out, "before");
    settle(&w);
    struct peer a, b;
    attach(&w, &a, 10, 0, 1, 2);
    uint64_t written = 0, errors = 0;
    struct text t = {0};
    for (int i = 0; i < 30; i++) {
        write_stream(out, 1, &written, 40000);
        write_stream(err, 2, &errors, 9000);
        if (i == 14) {
            read_until(&w, reader, &t, 6 + (size_t)written);
            peer_read_until(&w, &a, 2, (size_t)errors);
            attach(&w, &b, 11, 0, 1, 2);
            text_add(&b.streams[1], t.at + 6, (size_t)written);
        }
        step(&w, 0);
        read_some(reader, &t, 30000, NULL);
        peer_read(&a, 50000);
        if (i > 14)
            peer_read(&b, 100000);
    }
    close(out);
    close(err);
    read_to_end(&w, reader, &t);
    peer_read_to_end(&w, &a);
    peer_read_to_end(&w, &b);
    CHECK_EQUAL(t.length, 6 + written);
    check_stream(1, 0, t.at + 6, t.length - 6);
    CHECK_EQUAL(a.streams[1].length, written);
    check_stream(1, 0, a.streams[1].at, a.streams[1].length);
    CHECK_EQUAL(a.streams[2].length, errors);
    check_stream(2, 0, a.streams[2].at, a.streams[2].length);
    CHECK_EQUAL(b.streams[1].length, written);
    check_stream(1, 0, b.streams[1].at, b.streams[1].length);
    CHECK_EQUAL(await_event(&w, PUMP_EV_CLIENT_GONE, 10), PUMP_CLIENT_OUTPUT_ENDED);
    CHECK_EQUAL(await_event(&w, PUMP_EV_CLIENT_GONE, 11), PUMP_CLIENT_OUTPUT_ENDED);
    peer_close(&a);
    peer_close(&b);
    close(reader);
    text_free(&t);
    world_end(&w);
}

static void end_of_outputs_is_no_reset(void) {
    struct world w;
    world_begin(&w);
    int out, in;
    add_null_output(&w, 1, &out);
    add_input(&w, 2, NULL, &in);
    struct peer a;
    attach(&w, &a, 10, 2, 1, 0);
    write_text(out, "bye");
    settle(&w);
    close(out);
    CHECK(peer_send(&a, 0, "still typing", 12));
    peer_read_to_end(&w, &a);
    CHECK_EQUAL(a.streams[1].length, 3);
    CHECK_EQUAL(await_event(&w, PUMP_EV_CLIENT_GONE, 10), PUMP_CLIENT_OUTPUT_ENDED);
    CHECK_EQUAL(count_events(&w, PUMP_EV_CLIENT_GONE, 10), 1);
    peer_close(&a);
    close(in);
    world_end(&w);
}

static void hostile_clients_lose_only_themselves(void) {
    struct world w;
    world_begin(&w);
    int out, in;
    add_null_output(&w, 1, &out);
    add_input(&w, 2, NULL, &in);
    struct peer good;
    attach(&w, &good, 10, 2, 1, 0);
    static const unsigned char bad[][6] = {
        {1, 0, 0, 0, 1, 'x'}, {2, 0, 0, 0, 0}, {4, 0, 0, 0, 0}, {255, 255, 255, 255, 255}, {0, 0, 1, 0, 1, 'x'}, {0, 255, 255, 255, 255}, {3, 0, 0, 0, 1, 'x'},
    };
    uint32_t id = 20;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++, id++) {
        struct peer peer;
        attach(&w, &peer, id, i % 2 ? 2 : 0, 1, 0);
        CHECK(send(peer.fd, bad[i], 6, MSG_NOSIGNAL) == 6);
        CHECK_EQUAL(await_event(&w, PUMP_EV_CLIENT_GONE, id), PUMP_CLIENT_PROTOCOL);
        peer_close(&peer);
    }
    /* Half a frame, then gone. */
    for (int n = 1; n < 8; n++, id++) {
        struct peer peer;
        attach(&w, &peer, id, 2, 1, 0);
        static const unsigned char half[8] = {0, 0, 0, 0, 4, 'a', 'b', 'c'};
        CHECK(send(peer.fd, half, (size_t)n, MSG_NOSIGNAL) == n);
        settle(&w);
        check_quiet(&w);
        peer_close(&peer);
        CHECK_EQUAL(await_event(&w, PUMP_EV_CLIENT_GONE, id), PUMP_CLIENT_LEFT);
    }
    struct text t = {0};
    read_some(in, &t, SIZE_MAX, NULL);
    CHECK(strcmp((char *)t.at, "aab") == 0); /* of the frames of 6 and 7 bytes */
    /* A flood of tiny frames to nobody. */
    struct peer flood;
    attach(&w, &flood, 90, 0, 1, 0);
    for (int i = 0; i < 20000; i++)
        if (!peer_send(&flood, 0, "x", (size_t)(i % 2)))
            step(&w, 0);
    settle(&w);
    write_text(out, "fine");
    peer_read_until(&w, &good, 1, 4);
    CHECK(peer_send(&good, 0, "in", 2));
    read_until(&w, in, &t, 5);
    CHECK_EQUAL(count_events(&w, PUMP_EV_CLIENT_GONE, 10), 0);
    CHECK_EQUAL(pump_client_remove(w.p, 90), 0);
    CHECK_EQUAL(pump_client_remove(w.p, 90), -ENOENT);
    peer_close(&flood);
    peer_close(&good);
    close(out);
    close(in);
    text_free(&t);
    world_end(&w);
}

static void slow_client_holds_back_and_is_disconnected(void) {
    struct world w;
    world_begin(&w);
    w.p->client_slow_ms = 1500;
    int out;
    add_null_output(&w, 1, &out);
    struct peer slow, quick;
    attach(&w, &slow, 10, 0, 1, 0);
    attach(&w, &quick, 11, 0, 1, 0);
    uint64_t written = 0, last;
    do {
        last = written;
        write_stream(out, 3, &written, SIZE_MAX);
        settle(&w);
        peer_read(&quick, SIZE_MAX);
    } while (written != last);
    CHECK_EQUAL(pump_is_idle(w.p), 0);
    check_quiet(&w);
    /* Whoever takes a little stays, though the rounds take longer than client_slow_ms. */
    for (int i = 0; i < 16; i++) {
        peer_read(&slow, 60000);
        settle_for(&w, 100);
        write_stream(out, 3, &written, SIZE_MAX);
        CHECK_EQUAL(count_events(&w, PUMP_EV_CLIENT_GONE, 10), 0);
        peer_read(&quick, SIZE_MAX);
    }
    CHECK_EQUAL(await_event(&w, PUMP_EV_CLIENT_GONE, 10), PUMP_CLIENT_SLOW);
    peer_read_until(&w, &quick, 1, (size_t)written);
    check_stream(3, 0, quick.streams[1].at, quick.streams[1].length);
    close(out);
    peer_close(&slow);
    peer_close(&quick);
    world_end(&w);
}

static void drain_does_not_wait_for_a_slow_client(void) {
    struct world w;
    world_begin(&w);
    int out;
    add_null_output(&w, 1, &out);
    struct peer slow;
    attach(&w, &slow, 10, 0, 1, 0);
    uint64_t written = 0;
    for (int i = 0; i < 20; i++) {
        write_stream(out, 3, &written, SIZE_MAX);
        settle(&w);
    }
    CHECK_EQUAL(pump_output_drain(w.p, 1, 100), 0);
    CHECK_EQUAL(await_event(&w, PUMP_EV_DRAINED, 1), PUMP_DRAINED_ALL);
    CHECK_EQUAL(event_value(&w, PUMP_EV_CLIENT_GONE, 10), PUMP_CLIENT_SLOW);
    close(out);
    peer_close(&slow);
    world_end(&w);
}

static void half_closed_client_still_sees_output(void) {
    struct world w;
    world_begin(&w);
    int out;
    add_null_output(&w, 1, &out);
    struct peer a;
    attach(&w, &a, 10, 0, 1, 0);
    CHECK(shutdown(a.fd, SHUT_WR) == 0);
    check_quiet(&w);
    write_text(out, "seen");
    peer_read_until(&w, &a, 1, 4);
    check_quiet(&w);
    CHECK_EQUAL(count_events(&w, PUMP_EV_CLIENT_GONE, 10), 0);
    peer_close(&a);
    CHECK_EQUAL(await_event(&w, PUMP_EV_CLIENT_GONE, 10), PUMP_CLIENT_LEFT);
    close(out);
    world_end(&w);
}

static void stdin_of_many(void) {
    struct world w;
    world_begin(&w);
    const char *path = fifo_in(&w, "in");
    int out, in;
    add_null_output(&w, 1, &out);
    add_input(&w, 2, path, &in);
    int writer = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    struct peer peers[3];
    for (uint32_t i = 0; i < 3; i++)
        attach(&w, &peers[i], 10 + i, 2, 1, 0);
    enum { RECORD = 1000 };
    char records[4][RECORD];
    long sent[4] = {0}, got[4] = {0};
    for (int i = 0; i < 4; i++)
        memset(records[i], 'a' + i, RECORD);
    struct text t = {0};
    for (int round = 0; round < 3000; round++) {
        int i = round % 4;
        if (i < 3 ? peer_send(&peers[i], 0, records[i], RECORD) : write(writer, records[i], RECORD) == RECORD)
            sent[i]++;
        if (round % 3 == 0)
            step(&w, 0);
        if (round % 5 == 0)
            read_some(in, &t, 4000, NULL);
    }
    long total = (sent[0] + sent[1] + sent[2] + sent[3]) * RECORD;
    CHECK(total > 500000);
    read_until(&w, in, &t, (size_t)total);
    for (size_t at = 0; at < t.length; at += RECORD) {
        for (size_t i = 1; i < RECORD; i++)
            CHECK(t.at[at + i] == t.at[at]);
        got[t.at[at] - 'a']++;
    }
    for (int i = 0; i < 4; i++)
        CHECK_EQUAL(got[i], sent[i]);
    for (int i = 0; i < 3; i++)
        peer_close(&peers[i]);
    close(writer);
    close(out);
    close(in);
    text_free(&t);
    world_end(&w);
}

static void flood_does_not_starve_the_others(void) {
    struct world w;
    world_begin(&w);
    const char *path = fifo_in(&w, "in");
    int in;
    add_input(&w, 2, path, &in);
    int writer = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    struct peer flood, calm;
    attach(&w, &flood, 10, 2, 0, 0);
    attach(&w, &calm, 11, 2, 0, 0);
    static char big[20000];
    memset(big, 'f', sizeof big);
    struct text t = {0};
    bool seen = false;
    for (int i = 0; i < 400 && !seen; i++) {
        while (peer_send(&flood, 0, big, sizeof big))
            continue;
        if (i == 100) {
            CHECK(peer_send(&calm, 0, "c", 1));
            write_text(writer, "w");
        }
        step(&w, 0);
        read_some(in, &t, 20000, NULL);
        seen = memchr(t.at, 'c', t.length) != NULL && memchr(t.at, 'w', t.length) != NULL;
    }
    CHECK(seen);
    /* Nobody reads on: everything stands still. */
    for (int i = 0; i < 50; i++) {
        peer_send(&flood, 0, big, sizeof big);
        step(&w, 0);
    }
    check_quiet(&w);
    peer_close(&flood);
    peer_close(&calm);
    check_quiet(&w);
    close(writer);
    close(in);
    text_free(&t);
    world_end(&w);
}

static void client_that_says_its_piece_and_leaves(void) {
    struct world w;
    world_begin(&w);
    int in, out;
    add_null_output(&w, 1, &out);
    add_input(&w, 2, NULL, &in);
    struct peer a;
    attach(&w, &a, 10, 2, 1, 0);
    long sent = 0;
    static char record[20000];
    memset(record, 'r', sizeof record);
    while (peer_send(&a, 0, record, sizeof record))
        sent++;
    peer_close(&a);
    write_text(out, "to nobody");
    check_quiet(&w);
    struct text t = {0};
    read_until(&w, in, &t, (size_t)sent * sizeof record);
    CHECK_EQUAL(await_event(&w, PUMP_EV_CLIENT_GONE, 10), PUMP_CLIENT_LEFT);
    /* Its leaving is no end of stdin; the frame that says so is. */
    check_quiet(&w);
    CHECK_EQUAL(count_events(&w, PUMP_EV_INPUT_ENDED, 2), 0);
    attach(&w, &a, 11, 2, 1, 0);
    CHECK(peer_send(&a, 0, "end", 3));
    CHECK(peer_send(&a, 3, "", 0));
    CHECK(peer_send(&a, 0, "more", 4));
    size_t before = t.length;
    read_to_end(&w, in, &t);
    CHECK_EQUAL(t.length, before + 3);
    CHECK_EQUAL(await_event(&w, PUMP_EV_INPUT_ENDED, 2), 0);
    write_text(out, "still here");
    peer_read_until(&w, &a, 1, 10);
    check_quiet(&w);
    peer_close(&a);
    close(in);
    close(out);
    text_free(&t);
    world_end(&w);
}

static void wrong_clients_are_refused(void) {
    struct world w;
    world_begin(&w);
    int out, ends[2];
    add_null_output(&w, 1, &out);
    make_pipe(ends);
    CHECK_EQUAL(pump_client_add(w.p, 10, ends[0], 0, 1, 0), -EINVAL);
    CHECK(fcntl(ends[0], F_GETFD) < 0);
    close(ends[1]);
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    CHECK_EQUAL(pump_client_add(w.p, 10, ends[0], 0, 7, 0), -ENOENT);
    CHECK_EQUAL(pump_client_add(w.p, 1, ends[1], 0, 1, 0), -EEXIST);
    CHECK(fcntl(ends[1], F_GETFD) < 0);
    close(out);
    world_end(&w);
}

int main(void) {
    signal(SIGPIPE, SIG_IGN);
    run_test("clients see both streams from when they came", clients_see_both_streams);
    run_test("the end of the outputs is an end of file, not a reset", end_of_outputs_is_no_reset);
    run_test("hostile clients lose only their own connection", hostile_clients_lose_only_themselves);
    run_test("a slow client holds back, and is disconnected if it takes nothing", slow_client_holds_back_and_is_disconnected);
    run_test("a drain does not wait for a slow client", drain_does_not_wait_for_a_slow_client);
    run_test("a client that stopped sending still sees output", half_closed_client_still_sees_output);
    run_test("stdin of several clients and the FIFO never mixes", stdin_of_many);
    run_test("a flood of stdin does not starve the others", flood_does_not_starve_the_others);
    run_test("a client that says its piece and leaves is heard to the end", client_that_says_its_piece_and_leaves);
    run_test("wrong clients are refused and closed", wrong_clients_are_refused);
    return 0;
}
