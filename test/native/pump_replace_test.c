/* SPDX-License-Identifier: Apache-2.0 */
/* The pump: saved and loaded in the middle of everything, by itself and across a real exec. */
#define _GNU_SOURCE
#include <sys/wait.h>

#include "pump_world.h"

static struct pump_output fifo_output(uint32_t id, int source, const char *path, const char *spool) {
    return (struct pump_output){.id = id, .source = source, .sink = PUMP_SINK_FIFO, .path = path, .sink_fd = -1,
                                .spool_path = spool, .spool_limit = 16 << 20};
}

static void spool_and_reader_survive(void) {
    struct world w;
    world_begin(&w);
    int source[2];
    make_pipe(source);
    const char *path = fifo_in(&w, "a fifo = 100%"), *spool = path_in(&w, "the\nspool");
    struct pump_output o = fifo_output(1, source[0], path, spool);
    CHECK_EQUAL(pump_output_add(w.p, &o), 0);
    uint64_t written = 0;
    struct text t = {0};
    int reader = -1;
    for (int i = 0; i < 300; i++) {
        write_stream(source[1], 1, &written, 20000);
        step(&w, 0);
        if (i % 40 == 20)
            reader = open_reader(path);
        if (i % 40 == 0 && reader >= 0) {
            close(reader);
            reader = -1;
        }
        if (reader >= 0)
            read_some(reader, &t, 30000, NULL);
        replace_pump(&w);
    }
    if (reader < 0)
        reader = open_reader(path);
    close(source[1]);
    read_to_end(&w, reader, &t);
    CHECK_EQUAL(t.length, written);
    check_stream(1, 0, t.at, t.length);
    CHECK_EQUAL(await_event(&w, PUMP_EV_OUTPUT_ENDED, 1), 0);
    CHECK(access(spool, F_OK) < 0);
    close(reader);
    text_free(&t);
    world_end(&w);
}

static void partial_line_survives(void) {
    struct world w;
    world_begin(&w);
    int source[2];
    make_pipe(source);
    const char *path = path_in(&w, "log");
    struct pump_output o = {.id = 1, .source = source[0], .sink = PUMP_SINK_CRI, .path = path, .sink_fd = -1, .cri_stream = "stdout"};
    CHECK_EQUAL(pump_output_add(w.p, &o), 0);
    for (int i = 0; i < 100; i++) {
        char text[8];
        snprintf(text, sizeof text, "%02d%s", i, i % 10 == 9 ? "\n" : "");
        write_text(source[1], text);
        settle_for(&w, 1);
        CHECK_EQUAL(pump_is_idle(w.p), i % 10 == 9);
        replace_pump(&w);
    }
    close(source[1]);
    await_event(&w, PUMP_EV_OUTPUT_ENDED, 1);
    struct text t = file_text(path);
    const char *at = (char *)t.at;
    for (int line = 0; line < 10; line++) {
        at += PUMP_TIMESTAMP_LENGTH;
        CHECK(strncmp(at, " stdout F ", 10) == 0);
        at += 10;
        for (int i = line * 10; i < line * 10 + 10; i++, at += 2)
            CHECK(at[0] == '0' + i / 10 && at[1] == '0' + i % 10);
        CHECK(*at++ == '\n');
    }
    CHECK(*at == '\0');
    text_free(&t);
    world_end(&w);
}

static void blocked_remainders_survive(void) {
    struct world w;
    world_begin(&w);
    int source[2], sink[2], dest[2], sockets[2];
    make_pipe(source);
    make_pipe(sink);
    make_pipe(dest);
    CHECK(fcntl(sink[0], F_SETFL, O_NONBLOCK) == 0);
    CHECK(fcntl(dest[0], F_SETFL, O_NONBLOCK) == 0);
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sockets) == 0);
    const char *fifo = fifo_in(&w, "in");
    struct pump_output o = {.id = 1, .source = source[0], .sink = PUMP_SINK_FD, .sink_fd = sink[1]};
    struct pump_input in = {.id = 2, .dest = dest[1], .fifo_path = fifo};
    CHECK_EQUAL(pump_output_add(w.p, &o), 0);
    CHECK_EQUAL(pump_input_add(w.p, &in), 0);
    CHECK_EQUAL(pump_client_add(w.p, 3, sockets[0], 2, 1, 0), 0);
    int writer = open(fifo, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    uint64_t out = 0, typed = 0;
    struct text sunk = {0}, raw = {0}, read_in = {0};
    for (int i = 0; i < 400; i++) {
        write_stream(source[1], 2, &out, 60000);
        write_stream(writer, 3, &typed, 60000);
        step(&w, 0);
        replace_pump(&w);
        read_some(sink[0], &sunk, 7000, NULL);
        read_some(sockets[1], &raw, 9000, NULL);
        read_some(dest[0], &read_in, 5000, NULL);
    }
    close(source[1]);
    CHECK_EQUAL(pump_input_close(w.p, 2), 0);
    bool ended[3] = {false};
    while (!ended[0] || !ended[1] || !ended[2]) {
        step(&w, 1);
        replace_pump(&w);
        read_some(sink[0], &sunk, SIZE_MAX, &ended[0]);
        read_some(sockets[1], &raw, SIZE_MAX, &ended[1]);
        read_some(dest[0], &read_in, SIZE_MAX, &ended[2]);
    }
    CHECK_EQUAL(sunk.length, out);
    check_stream(2, 0, sunk.at, sunk.length);
    CHECK_EQUAL(read_in.length, typed);
    check_stream(3, 0, read_in.at, read_in.length);
    uint64_t seen = 0;
    for (size_t at = 0; at < raw.length;) {
        size_t n = (size_t)raw.at[at + 2] << 16 | (size_t)raw.at[at + 3] << 8 | raw.at[at + 4];
        CHECK(raw.at[at] == 1 && at + 5 + n <= raw.length);
        check_stream(2, seen, raw.at + at + 5, n);
        seen += n;
        at += 5 + n;
    }
    CHECK_EQUAL(seen, out);
    CHECK_EQUAL(await_event(&w, PUMP_EV_OUTPUT_ENDED, 1), 0);
    CHECK_EQUAL(await_event(&w, PUMP_EV_INPUT_ENDED, 2), 0);
    CHECK_EQUAL(await_event(&w, PUMP_EV_CLIENT_GONE, 3), PUMP_CLIENT_OUTPUT_ENDED);
    close(writer);
    close(sink[0]);
    close(dest[0]);
    close(sockets[1]);
    text_free(&sunk);
    text_free(&raw);
    text_free(&read_in);
    world_end(&w);
}

static void half_a_frame_survives(void) {
    struct world w;
    world_begin(&w);
    int dest[2], sockets[2];
    make_pipe(dest);
    CHECK(fcntl(dest[0], F_SETFL, O_NONBLOCK) == 0);
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sockets) == 0);
    struct pump_input in = {.id = 2, .dest = dest[1]};
    CHECK_EQUAL(pump_input_add(w.p, &in), 0);
    CHECK_EQUAL(pump_client_add(w.p, 3, sockets[0], 2, 0, 0), 0);
    static const unsigned char frames[] = {0, 0, 0, 0, 3, 'a', 'b', 'c', 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 'd', 'e', 3, 0, 0, 0, 0};
    for (size_t i = 0; i < sizeof frames; i++) {
        write_all(sockets[1], frames + i, 1);
        step(&w, 0);
        step(&w, 0);
        replace_pump(&w);
    }
    struct text t = {0};
    read_to_end(&w, dest[0], &t);
    CHECK(strcmp((char *)t.at, "abcde") == 0);
    CHECK_EQUAL(await_event(&w, PUMP_EV_INPUT_ENDED, 2), 0);
    close(dest[0]);
    close(sockets[1]);
    text_free(&t);
    world_end(&w);
}

static void pending_drain_survives(void) {
    struct world w;
    world_begin(&w);
    int source[2];
    make_pipe(source);
    const char *path = fifo_in(&w, "out"), *spool = path_in(&w, "spool");
    int reader = open_reader(path);
    struct pump_output o = fifo_output(1, source[0], path, spool);
    CHECK_EQUAL(pump_output_add(w.p, &o), 0);
    uint64_t written = 0;
    for (int i = 0; i < 20; i++) {
        write_stream(source[1], 1, &written, SIZE_MAX);
        settle_for(&w, 2);
    }
    enum { GRACE_MS = 2500 };
    int64_t start = pump_now_ms(), replaced = start;
    CHECK_EQUAL(pump_output_drain(w.p, 1, GRACE_MS), 0);
    while (replaced < start + GRACE_MS / 2) {
        settle_for(&w, 40);
        replaced = pump_now_ms();
        replace_pump(&w);
    }
    CHECK_EQUAL(count_events(&w, PUMP_EV_DRAINED, 1), 0);
    CHECK_EQUAL(await_event(&w, PUMP_EV_DRAINED, 1), PUMP_DRAINED_SPOOLED);
    /* A grace that a replacement began anew would end later. */
    int64_t now = pump_now_ms();
    CHECK(now >= start + GRACE_MS && now < replaced + GRACE_MS);
    /* An event that nobody took is carried on as well. */
    CHECK_EQUAL(pump_output_finish(w.p, 1, 0), 0);
    struct pump_event one;
    w.logged = 0;
    write_stream(source[1], 1, &written, 10);
    for (int i = 0; i < 20 && w.p->event_count == 0; i++)
        CHECK(pump_step(w.p, 10, &one, 1) <= 1);
    replace_pump(&w);
    settle(&w);
    CHECK(fcntl(source[0], F_GETFD) < 0);
    close(source[1]);
    close(reader);
    world_end(&w);
}

static int load_errno(const char *text) {
    int fd = memfd_create("pump", MFD_CLOEXEC);
    write_all(fd, text, strlen(text));
    lseek(fd, 0, SEEK_SET);
    errno = 0;
    struct pump *p = pump_load(fd);
    int error = errno;
    close(fd);
    if (p != NULL)
        pump_abandon(p);
    return p == NULL ? error : 0;
}

static void text_that_is_not_understood(void) {
    CHECK_EQUAL(load_errno("berth-pump 1\nend\n"), 0);
    CHECK_EQUAL(load_errno("berth-pump 1\nweather sun=1\nend\n"), 0);
    CHECK_EQUAL(load_errno(""), EINVAL);
    CHECK_EQUAL(load_errno("berth-pump 1\n"), EINVAL);
    CHECK_EQUAL(load_errno("berth-pump 2\nend\n"), EINVAL);
    CHECK_EQUAL(load_errno("berth-pump 1\noutput\nend\n"), EINVAL);
    CHECK_EQUAL(load_errno("berth-pump 1\noutput id=1\nend\n"), EINVAL);
    CHECK_EQUAL(load_errno("berth-pump 1\noutput id=1 kind=0 source_fd=1000000\nend\n"), EINVAL);
    CHECK_EQUAL(load_errno("berth-pump 1\noutput id=1 kind=0 eof=1 colour=red\nend\n"), 0);
    CHECK_EQUAL(load_errno("berth-pump 1\noutput id=1 kind=0 eof=1\noutput id=1 kind=0 eof=1\nend\n"), EINVAL);
    CHECK_EQUAL(load_errno("berth-pump 1\noutput id=1 kind=9 eof=1\nend\n"), EINVAL);
    CHECK_EQUAL(load_errno("berth-pump 1\noutput id=1 kind=0 eof=1 rest=4\nend\n"), EINVAL);
    CHECK_EQUAL(load_errno("berth-pump 1\noutput id=1 kind=0 eof=1 path=%4\nend\n"), EINVAL);
    CHECK_EQUAL(load_errno("berth-pump 1\noutput id=1 kind=0 eof=1 taken=x\nend\n"), EINVAL);
    CHECK_EQUAL(load_errno("berth-pump 1\nclient id=4\nend\n"), EINVAL);
    CHECK_EQUAL(load_errno("berth-pump 1\ninput id=4\nend\n"), EINVAL);
}

/* A process that execs itself again and again while a stream runs through it. */

enum { EXECS = 40 };

/* Each exec is told as a byte to `told`. */
static int exec_host(int state_fd, int left, int told, const char *self) {
    struct pump *p = pump_load(state_fd);
    close(state_fd);
    if (p == NULL)
        return 10;
    if (left < EXECS && write(told, "x", 1) != 1)
        return 15;
    for (int i = 0; i < 20; i++) {
        struct pump_event events[8];
        int n = pump_step(p, 2, events, 8);
        for (int j = 0; j < n; j++)
            if (events[j].kind == PUMP_EV_OUTPUT_ENDED) {
                pump_free(p);
                return left > EXECS / 2 ? 11 : (int)events[j].value;
            }
        if (left == 0)
            i = 0;
    }
    int fds[32];
    int count = pump_descriptors(p, fds, 32);
    int state = memfd_create("state", 0);
    if (pump_save(p, state) < 0 || lseek(state, 0, SEEK_SET) < 0)
        return 12;
    for (int i = 0; i < count; i++)
        if (fcntl(fds[i], F_SETFD, 0) < 0)
            return 13;
    char fd_text[16], left_text[16], told_text[16];
    snprintf(fd_text, sizeof fd_text, "%d", state);
    snprintf(left_text, sizeof left_text, "%d", left - 1);
    snprintf(told_text, sizeof told_text, "%d", told);
    execl(self, self, "resume", fd_text, left_text, told_text, NULL);
    return 14;
}

static void stream_survives_exec(void) {
    struct world w;
    world_begin(&w);
    int source[2], told[2];
    CHECK(pipe2(source, O_CLOEXEC) == 0);
    CHECK(pipe2(told, O_CLOEXEC | O_NONBLOCK) == 0);
    const char *path = fifo_in(&w, "out"), *spool = path_in(&w, "spool");
    char self[256] = {0};
    CHECK(readlink("/proc/self/exe", self, sizeof self - 1) > 0);
    struct pump_output o = fifo_output(1, source[0], path, spool);
    CHECK_EQUAL(pump_output_add(w.p, &o), 0);
    int state = memfd_create("state", MFD_CLOEXEC);
    CHECK_EQUAL(pump_save(w.p, state), 0);
    pid_t host = fork();
    CHECK(host >= 0);
    if (host == 0) {
        close(source[1]);
        pump_abandon(w.p);
        lseek(state, 0, SEEK_SET);
        _exit(fcntl(told[1], F_SETFD, 0) < 0 ? 16 : exec_host(state, EXECS, told[1], self));
    }
    close(state);
    close(told[1]);
    pump_free(w.p);
    w.p = pump_new();
    CHECK(fcntl(source[1], F_SETFL, O_NONBLOCK) == 0);
    uint64_t written = 0;
    struct text t = {0}, execs = {0};
    int reader = open_reader(path), status = 0;
    bool gone = false;
    int64_t end = pump_now_ms() + 60000;
    for (int round = 0; !gone && (written < 4000000 || round < 1000 || execs.length < EXECS / 2); round++) {
        CHECK(pump_now_ms() < end);
        read_some(told[0], &execs, SIZE_MAX, &gone);
        write_stream(source[1], 9, &written, 30000);
        read_some(reader, &t, 40000, NULL);
        if (round % 50 == 49) {
            close(reader);
            usleep(5000);
            write_stream(source[1], 9, &written, 30000);
            usleep(5000);
            reader = open_reader(path);
        }
        usleep(500);
    }
    close(source[1]);
    bool ended = false;
    end = pump_now_ms() + 20000;
    while (!ended) {
        CHECK(pump_now_ms() < end);
        if (read_some(reader, &t, SIZE_MAX, &ended) == 0)
            usleep(1000);
    }
    CHECK(waitpid(host, &status, 0) == host);
    CHECK_EQUAL(status, 0);
    CHECK_EQUAL(t.length, written);
    check_stream(9, 0, t.at, t.length);
    close(told[0]);
    close(reader);
    text_free(&execs);
    text_free(&t);
    world_end(&w);
}

int main(int argc, char **argv) {
    signal(SIGPIPE, SIG_IGN);
    if (argc == 5 && strcmp(argv[1], "resume") == 0)
        return exec_host(atoi(argv[2]), atoi(argv[3]), atoi(argv[4]), argv[0]);
    run_test("spool and absent reader survive replacement", spool_and_reader_survive);
    run_test("a partial line survives replacement", partial_line_survives);
    run_test("what blocked sinks, inputs and clients have not taken survives", blocked_remainders_survive);
    run_test("half a frame survives replacement", half_a_frame_survives);
    run_test("a pending drain goes on with what is left of its grace", pending_drain_survives);
    run_test("text that is not understood is refused", text_that_is_not_understood);
    run_test("a stream runs through a process that execs again and again", stream_survives_exec);
    return 0;
}
