/* SPDX-License-Identifier: Apache-2.0 */
/* The pump: outputs, sinks, inputs, watches. Attach, replacement and the random test have files of their own. */
#define _GNU_SOURCE
#include <pthread.h>
#include <pty.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <termios.h>

#include "pump_world.h"

static struct pump_output fifo_output(uint32_t id, int source, const char *path, const char *spool, uint64_t limit) {
    return (struct pump_output){.id = id, .source = source, .sink = PUMP_SINK_FIFO, .path = path, .sink_fd = -1,
                                .spool_path = spool, .spool_limit = limit};
}

static struct pump_output cri_output(uint32_t id, int source, const char *path, const char *stream) {
    return (struct pump_output){.id = id, .source = source, .sink = PUMP_SINK_CRI, .path = path, .sink_fd = -1, .cri_stream = stream};
}

static struct pump_output file_output(uint32_t id, int source, const char *path) {
    return (struct pump_output){.id = id, .source = source, .sink = PUMP_SINK_FILE, .path = path, .sink_fd = -1};
}

/* FIFO sinks. */

static void fifo_delivers(void) {
    struct world w;
    world_begin(&w);
    int source[2];
    make_pipe(source);
    const char *path = fifo_in(&w, "out");
    int reader = open_reader(path);
    struct pump_output o = fifo_output(1, source[0], path, NULL, 0);
    CHECK_EQUAL(pump_output_add(w.p, &o), 0);
    write_text(source[1], "hello ");
    struct text t = {0};
    read_until(&w, reader, &t, 6);
    write_text(source[1], "world");
    close(source[1]);
    read_to_end(&w, reader, &t);
    CHECK(strcmp((char *)t.at, "hello world") == 0);
    CHECK_EQUAL(await_event(&w, PUMP_EV_OUTPUT_ENDED, 1), 0);
    CHECK_EQUAL(pump_output_remove(w.p, 1), -ENOENT);
    CHECK_EQUAL(count_events(&w, PUMP_EV_SPOOLING, 1), 0);
    close(reader);
    text_free(&t);
    world_end(&w);
}

static void slow_reader_gives_back_pressure(void) {
    struct world w;
    world_begin(&w);
    int source[2];
    make_pipe(source);
    const char *path = fifo_in(&w, "out"), *spool = path_in(&w, "spool");
    int reader = open_reader(path);
    struct pump_output o = fifo_output(1, source[0], path, spool, 1 << 20);
    CHECK_EQUAL(pump_output_add(w.p, &o), 0);
    uint64_t written = 0, last;
    do {
        last = written;
        write_stream(source[1], 7, &written, SIZE_MAX);
        settle(&w);
    } while (written != last);
    CHECK(written <= 1024 * 1024 + 65536 && written >= 65536);
    CHECK(access(spool, F_OK) < 0);
    check_quiet(&w);
    struct text t = {0};
    read_until(&w, reader, &t, (size_t)written);
    check_stream(7, 0, t.at, t.length);
    close(source[1]);
    close(reader);
    text_free(&t);
    world_end(&w);
}

static void reader_that_comes_late(void) {
    struct world w;
    world_begin(&w);
    int source[2];
    make_pipe(source);
    const char *path = fifo_in(&w, "out"), *spool = path_in(&w, "spool");
    struct pump_output o = fifo_output(1, source[0], path, spool, 8 << 20);
    CHECK_EQUAL(pump_output_add(w.p, &o), 0);
    uint64_t written = 0;
    while (written < 3000000) {
        write_stream(source[1], 1, &written, 3000000 - written);
        step(&w, 0);
    }
    settle(&w);
    CHECK_EQUAL(event_value(&w, PUMP_EV_SPOOLING, 1), 1);
    CHECK_EQUAL(pump_is_idle(w.p), 0);
    struct stat st;
    CHECK(stat(spool, &st) == 0 && st.st_size == 3000000 && (st.st_mode & 0777) == 0600);
    check_quiet(&w);
    int reader = open_reader(path);
    struct text t = {0};
    read_until(&w, reader, &t, 3000000);
    settle(&w);
    CHECK_EQUAL(event_value(&w, PUMP_EV_SPOOLING, 1), 0);
    CHECK_EQUAL(count_events(&w, PUMP_EV_SPOOLING, 1), 2);
    CHECK(stat(spool, &st) == 0 && st.st_size == 0);
    CHECK_EQUAL(pump_is_idle(w.p), 1);
    CHECK_EQUAL(w.p->inotify_fd, -1);
    write_stream(source[1], 1, &written, 50000);
    close(source[1]);
    read_to_end(&w, reader, &t);
    CHECK_EQUAL(t.length, 3050000);
    check_stream(1, 0, t.at, t.length);
    CHECK_EQUAL(await_event(&w, PUMP_EV_OUTPUT_ENDED, 1), 0);
    CHECK(access(spool, F_OK) < 0);
    close(reader);
    text_free(&t);
    world_end(&w);
}

static void reader_that_leaves_and_comes_back(void) {
    struct world w;
    world_begin(&w);
    int source[2];
    make_pipe(source);
    const char *path = fifo_in(&w, "out"), *spool = path_in(&w, "spool");
    int reader = open_reader(path);
    struct pump_output o = fifo_output(1, source[0], path, spool, 8 << 20);
    CHECK_EQUAL(pump_output_add(w.p, &o), 0);
    struct text t = {0};
    uint64_t written = 0;
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < 8; i++) {
            write_stream(source[1], 2, &written, 30000);
            step(&w, 0);
        }
        read_some(reader, &t, 70000, NULL);
        step(&w, 0);
        close(reader); /* leaves bytes in the FIFO */
        for (int i = 0; i < 8; i++) {
            write_stream(source[1], 2, &written, 30000);
            step(&w, 0);
        }
        if (round % 2 == 0)
            check_quiet(&w);
        reader = open_reader(path);
    }
    close(source[1]);
    read_to_end(&w, reader, &t);
    CHECK_EQUAL(t.length, written);
    check_stream(2, 0, t.at, t.length);
    close(reader);
    text_free(&t);
    world_end(&w);
}

static void full_spool_gives_back_pressure(void) {
    struct world w;
    world_begin(&w);
    int source[2];
    make_pipe(source);
    const char *path = fifo_in(&w, "out"), *spool = path_in(&w, "spool");
    struct pump_output o = fifo_output(1, source[0], path, spool, 100000);
    CHECK_EQUAL(pump_output_add(w.p, &o), 0);
    uint64_t written = 0, last;
    do {
        last = written;
        write_stream(source[1], 3, &written, SIZE_MAX);
        settle(&w);
    } while (written != last);
    struct stat st;
    CHECK(stat(spool, &st) == 0 && st.st_size == 100000);
    CHECK(written <= 100000 + 512 * 1024);
    check_quiet(&w);
    int reader = open_reader(path);
    struct text t = {0};
    for (int i = 0; i < 50; i++) {
        write_stream(source[1], 3, &written, 20000);
        read_some(reader, &t, 10000, NULL);
        step(&w, 0);
    }
    read_until(&w, reader, &t, (size_t)written);
    check_stream(3, 0, t.at, t.length);
    close(source[1]);
    close(reader);
    text_free(&t);
    world_end(&w);
}

static void without_spool_an_absent_reader_gives_back_pressure(void) {
    struct world w;
    world_begin(&w);
    int source[2];
    make_pipe(source);
    const char *path = fifo_in(&w, "out");
    struct pump_output o = fifo_output(1, source[0], path, NULL, 0);
    CHECK_EQUAL(pump_output_add(w.p, &o), 0);
    write_text(source[1], "kept");
    check_quiet(&w);
    int reader = open_reader(path);
    struct text t = {0};
    read_until(&w, reader, &t, 4);
    CHECK(memcmp(t.at, "kept", 4) == 0);
    close(source[1]);
    close(reader);
    text_free(&t);
    world_end(&w);
}

static void spool_that_cannot_be_made_gives_back_pressure(void) {
    struct world w;
    world_begin(&w);
    int source[2];
    make_pipe(source);
    const char *path = fifo_in(&w, "out");
    struct pump_output o = fifo_output(1, source[0], path, "/nowhere/at/all", 1 << 20);
    CHECK_EQUAL(pump_output_add(w.p, &o), 0);
    uint64_t written = 0;
    write_stream(source[1], 3, &written, 60000);
    check_quiet(&w);
    CHECK_EQUAL(count_events(&w, PUMP_EV_SINK_ERROR, 1), 0);
    int reader = open_reader(path);
    struct text t = {0};
    read_until(&w, reader, &t, 60000);
    check_stream(3, 0, t.at, t.length);
    close(source[1]);
    close(reader);
    text_free(&t);
    world_end(&w);
}

static void end_waits_for_a_reader_of_what_is_in_the_fifo(void) {
    struct world w;
    world_begin(&w);
    int source[2];
    make_pipe(source);
    const char *path = fifo_in(&w, "out"), *spool = path_in(&w, "spool");
    int reader = open_reader(path);
    struct pump_output o = fifo_output(1, source[0], path, spool, 1 << 20);
    CHECK_EQUAL(pump_output_add(w.p, &o), 0);
    write_text(source[1], "last words");
    settle(&w);
    close(reader);
    close(source[1]);
    check_quiet(&w);
    CHECK_EQUAL(count_events(&w, PUMP_EV_OUTPUT_ENDED, 1), 0);
    reader = open_reader(path);
    struct text t = {0};
    read_to_end(&w, reader, &t);
    CHECK_EQUAL(t.length, 10);
    CHECK_EQUAL(await_event(&w, PUMP_EV_OUTPUT_ENDED, 1), 0);
    close(reader);
    text_free(&t);
    world_end(&w);
}

static void readers_are_found_without_inotify(void) {
    struct world w;
    world_begin(&w);
    int source[2];
    make_pipe(source);
    const char *path = fifo_in(&w, "out"), *spool = path_in(&w, "spool");
    struct rlimit old, none;
    struct pump_output o = fifo_output(1, source[0], path, spool, 1 << 20);
    CHECK_EQUAL(pump_output_add(w.p, &o), 0);
    write_text(source[1], "text");
    /* No descriptor is left for inotify, nor for the spool. */
    CHECK(getrlimit(RLIMIT_NOFILE, &old) == 0);
    none = old;
    none.rlim_cur = 3;
    CHECK(setrlimit(RLIMIT_NOFILE, &none) == 0);
    check_quiet(&w);
    CHECK(w.p->poll_readers);
    CHECK(setrlimit(RLIMIT_NOFILE, &old) == 0);
    int reader = open_reader(path);
    struct text t = {0};
    read_until(&w, reader, &t, 4);
    CHECK(!w.p->poll_readers);
    close(source[1]);
    close(reader);
    text_free(&t);
    world_end(&w);
}

static void fifo_of_another_kind_is_refused(void) {
    struct world w;
    world_begin(&w);
    int source[2];
    make_pipe(source);
    const char *path = path_in(&w, "plain");
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    close(fd);
    struct pump_output o = fifo_output(1, source[0], path, NULL, 0);
    CHECK_EQUAL(pump_output_add(w.p, &o), -EINVAL);
    CHECK(fcntl(source[0], F_GETFD) < 0); /* it belonged to the pump */
    make_pipe(source);
    o = fifo_output(0, source[0], path, NULL, 0);
    CHECK_EQUAL(pump_output_add(w.p, &o), -EINVAL);
    make_pipe(source);
    o = fifo_output(1, source[0], path_in(&w, "nothing"), NULL, 0);
    CHECK_EQUAL(pump_output_add(w.p, &o), -ENOENT);
    world_end(&w);
}

/* Drain and finish. */

static void drain_does_not_wait_for_who_holds_the_pipe(void) {
    struct world w;
    world_begin(&w);
    int source[2];
    make_pipe(source);
    const char *path = fifo_in(&w, "out");
    int reader = open_reader(path);
    struct pump_output o = fifo_output(1, source[0], path, NULL, 0);
    CHECK_EQUAL(pump_output_add(w.p, &o), 0);
    uint64_t written = 0;
    write_stream(source[1], 4, &written, 60000);
    CHECK_EQUAL(pump_output_drain(w.p, 1, 5000), 0);
    CHECK_EQUAL(await_event(&w, PUMP_EV_DRAINED, 1), PUMP_DRAINED_ALL);
    struct text t = {0};
    CHECK_EQUAL(read_some(reader, &t, SIZE_MAX, NULL), written);
    CHECK_EQUAL(count_events(&w, PUMP_EV_OUTPUT_ENDED, 1), 0);
    /* Each call is answered. */
    CHECK_EQUAL(pump_output_drain(w.p, 1, 5000), 0);
    CHECK_EQUAL(pump_output_drain(w.p, 1, 5000), 0);
    settle(&w);
    CHECK_EQUAL(count_events(&w, PUMP_EV_DRAINED, 1), 3);
    CHECK_EQUAL(pump_output_drain(w.p, 2, 5000), -ENOENT);
    close(source[1]);
    close(reader);
    text_free(&t);
    world_end(&w);
}

static void drain_ends_although_somebody_floods(void) {
    struct world w;
    world_begin(&w);
    int source[2];
    make_pipe(source);
    struct pump_output o = file_output(1, source[0], path_in(&w, "out"));
    CHECK_EQUAL(pump_output_add(w.p, &o), 0);
    uint64_t written = 0;
    write_stream(source[1], 4, &written, SIZE_MAX);
    CHECK_EQUAL(pump_output_drain(w.p, 1, 5000), 0);
    for (int i = 0; i < 20 && count_events(&w, PUMP_EV_DRAINED, 1) == 0; i++) {
        step(&w, 0);
        write_stream(source[1], 4, &written, SIZE_MAX);
    }
    CHECK_EQUAL(event_value(&w, PUMP_EV_DRAINED, 1), PUMP_DRAINED_ALL);
    close(source[1]);
    world_end(&w);
}

static void drain_spools_what_a_stalled_reader_leaves(void) {
    struct world w;
    world_begin(&w);
    int source[2];
    make_pipe(source);
    const char *path = fifo_in(&w, "out"), *spool = path_in(&w, "spool");
    int reader = open_reader(path);
    struct pump_output o = fifo_output(1, source[0], path, spool, 1 << 20);
    CHECK_EQUAL(pump_output_add(w.p, &o), 0);
    uint64_t written = 0;
    for (int i = 0; i < 20; i++) {
        write_stream(source[1], 4, &written, SIZE_MAX);
        settle(&w);
    }
    int64_t start = pump_now_ms();
    CHECK_EQUAL(pump_output_drain(w.p, 1, 100), 0);
    CHECK_EQUAL(await_event(&w, PUMP_EV_DRAINED, 1), PUMP_DRAINED_SPOOLED);
    CHECK(pump_now_ms() - start >= 100);
    CHECK_EQUAL(event_value(&w, PUMP_EV_SPOOLING, 1), 1);
    /* All of it has left the pipe. */
    CHECK_EQUAL(fd_readable_bytes(source[0]), 0);
    check_quiet(&w);
    write_stream(source[1], 4, &written, 10000);
    struct text t = {0};
    read_until(&w, reader, &t, (size_t)written);
    check_stream(4, 0, t.at, t.length);
    close(source[1]);
    close(reader);
    text_free(&t);
    world_end(&w);
}

static void drain_without_a_reader_is_spooled_at_once(void) {
    struct world w;
    world_begin(&w);
    int source[2];
    make_pipe(source);
    const char *path = fifo_in(&w, "out"), *spool = path_in(&w, "spool");
    struct pump_output o = fifo_output(1, source[0], path, spool, 50000);
    CHECK_EQUAL(pump_output_add(w.p, &o), 0);
    write_text(source[1], "abc");
    CHECK_EQUAL(pump_output_drain(w.p, 1, 60000), 0);
    CHECK_EQUAL(await_event(&w, PUMP_EV_DRAINED, 1), PUMP_DRAINED_SPOOLED);
    /* More than the spool takes: answered after the grace. */
    uint64_t written = 0;
    write_stream(source[1], 4, &written, 65000);
    w.logged = 0;
    CHECK_EQUAL(pump_output_drain(w.p, 1, 100), 0);
    CHECK_EQUAL(await_event(&w, PUMP_EV_DRAINED, 1), PUMP_DRAINED_SPOOLED);
    check_quiet(&w);
    close(source[1]);
    world_end(&w);
}

static void finish_waits_for_a_slow_reader(void) {
    struct world w;
    world_begin(&w);
    int source[2];
    make_pipe(source);
    const char *path = fifo_in(&w, "out");
    int reader = open_reader(path);
    struct pump_output o = fifo_output(1, source[0], path, NULL, 0);
    CHECK_EQUAL(pump_output_add(w.p, &o), 0);
    uint64_t written = 0;
    for (int i = 0; i < 10; i++) {
        write_stream(source[1], 5, &written, SIZE_MAX);
        settle(&w);
    }
    struct text t = {0};
    CHECK_EQUAL(pump_output_finish(w.p, 1, 1000), 0);
    /* Less than a page in more than the grace: the FIFO shows no room, only fewer bytes. */
    for (int i = 0; i < 48; i++) {
        read_some(reader, &t, 60, NULL);
        settle_for(&w, 25);
        CHECK_EQUAL(count_events(&w, PUMP_EV_OUTPUT_ENDED, 1), 0);
    }
    read_to_end(&w, reader, &t);
    CHECK_EQUAL(t.length, written);
    check_stream(5, 0, t.at, t.length);
    CHECK_EQUAL(await_event(&w, PUMP_EV_OUTPUT_ENDED, 1), 0);
    close(source[1]);
    close(reader);
    text_free(&t);
    world_end(&w);
}

static void eight_megabytes_of_a_process_that_is_gone(void) {
    struct world w;
    world_begin(&w);
    int source[2];
    make_pipe(source);
    const char *path = fifo_in(&w, "out");
    int reader = open_reader(path);
    struct pump_output o = fifo_output(1, source[0], path, NULL, 0);
    CHECK_EQUAL(pump_output_add(w.p, &o), 0);
    enum { TOTAL = 8 << 20 };
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        fcntl(source[1], F_SETFL, 0);
        uint64_t at = 0;
        write_stream(source[1], 6, &at, TOTAL);
        _exit(0);
    }
    /* This end stays open here, as with a grandchild that inherited it. */
    struct text t = {0};
    int status = 0;
    while (waitpid(child, &status, WNOHANG) == 0) {
        read_some(reader, &t, 100000, NULL);
        step(&w, 1);
    }
    CHECK_EQUAL(status, 0);
    CHECK_EQUAL(pump_output_finish(w.p, 1, 5000), 0);
    bool ended = false;
    while (!ended) {
        read_some(reader, &t, 20000, &ended);
        step(&w, 1);
    }
    CHECK_EQUAL(t.length, TOTAL);
    check_stream(6, 0, t.at, t.length);
    CHECK_EQUAL(await_event(&w, PUMP_EV_OUTPUT_ENDED, 1), 0);
    close(source[1]);
    close(reader);
    text_free(&t);
    world_end(&w);
}

static void finish_gives_up_on_who_takes_nothing(void) {
    struct world w;
    world_begin(&w);
    int source[2], other[2];
    make_pipe(source);
    make_pipe(other);
    const char *path = fifo_in(&w, "out"), *path2 = fifo_in(&w, "out2"), *spool = path_in(&w, "spool");
    struct pump_output o = fifo_output(1, source[0], path, spool, 1 << 20);
    CHECK_EQUAL(pump_output_add(w.p, &o), 0);
    write_text(source[1], "nobody reads this");
    CHECK_EQUAL(pump_output_finish(w.p, 1, 50), 0);
    CHECK_EQUAL(await_event(&w, PUMP_EV_OUTPUT_ENDED, 1), EPIPE);
    CHECK(access(spool, F_OK) < 0);
    CHECK_EQUAL(w.p->inotify_fd, -1);

    int reader = open_reader(path2);
    o = fifo_output(2, other[0], path2, NULL, 0);
    CHECK_EQUAL(pump_output_add(w.p, &o), 0);
    uint64_t written = 0;
    for (int i = 0; i < 10; i++) {
        write_stream(other[1], 5, &written, SIZE_MAX);
        settle(&w);
    }
    CHECK_EQUAL(pump_output_finish(w.p, 2, 50), 0);
    CHECK_EQUAL(await_event(&w, PUMP_EV_OUTPUT_ENDED, 2), ETIMEDOUT);
    close(reader);
    close(source[1]);
    close(other[1]);
    world_end(&w);
}

static void finish_without_a_byte_ends_at_once(void) {
    struct world w;
    world_begin(&w);
    int source[2];
    make_pipe(source);
    struct pump_output o = fifo_output(1, source[0], fifo_in(&w, "out"), path_in(&w, "spool"), 1 << 20);
    CHECK_EQUAL(pump_output_add(w.p, &o), 0);
    CHECK_EQUAL(pump_output_finish(w.p, 1, 60000), 0);
    CHECK_EQUAL(await_event(&w, PUMP_EV_OUTPUT_ENDED, 1), 0);
    CHECK(fcntl(source[0], F_GETFD) < 0);
    close(source[1]);
    world_end(&w);
}

/* Files and the CRI format. */

static void file_gets_everything(void) {
    struct world w;
    world_begin(&w);
    int source[2];
    make_pipe(source);
    const char *path = path_in(&w, "log");
    struct pump_output o = file_output(1, source[0], path);
    CHECK_EQUAL(pump_output_add(w.p, &o), 0);
    uint64_t written = 0;
    while (written < 2000000) {
        write_stream(source[1], 8, &written, 2000000 - written);
        step(&w, 0);
    }
    /* Rotation by another: renamed, then reopened. */
    settle(&w);
    const char *old = path_in(&w, "log.old");
    CHECK(rename(path, old) == 0);
    write_stream(source[1], 8, &written, 1000);
    settle(&w);
    CHECK_EQUAL(pump_output_reopen(w.p, 1), 0);
    write_stream(source[1], 8, &written, 1000);
    close(source[1]);
    CHECK_EQUAL(await_event(&w, PUMP_EV_OUTPUT_ENDED, 1), 0);
    struct text first = file_text(old), second = file_text(path);
    CHECK_EQUAL(first.length, 2001000);
    CHECK_EQUAL(second.length, 1000);
    check_stream(8, 0, first.at, first.length);
    check_stream(8, first.length, second.at, second.length);
    CHECK_EQUAL(pump_output_reopen(w.p, 1), -ENOENT);
    text_free(&first);
    text_free(&second);
    world_end(&w);
}

/* Takes one entry apart. Returns its tag. */
static char entry_parse(const char **at, const char *stream, const char **line, size_t *length) {
    const char *s = *at;
    const char *newline = strchr(s, '\n');
    CHECK(newline != NULL);
    const char *form = "dddd-dd-ddTdd:dd:dd.dddddddddZ";
    for (int i = 0; i < PUMP_TIMESTAMP_LENGTH; i++)
        CHECK(form[i] == 'd' ? s[i] >= '0' && s[i] <= '9' : s[i] == form[i]);
    s += PUMP_TIMESTAMP_LENGTH;
    CHECK(*s++ == ' ');
    CHECK(strncmp(s, stream, strlen(stream)) == 0);
    s += strlen(stream);
    CHECK(s[0] == ' ' && (s[1] == 'F' || s[1] == 'P') && s[2] == ' ');
    char tag = s[1];
    *line = s + 3;
    *length = (size_t)(newline - *line);
    *at = newline + 1;
    return tag;
}

static void check_entry(const char **at, const char *stream, char tag, const char *line) {
    const char *got;
    size_t length;
    CHECK_EQUAL(entry_parse(at, stream, &got, &length), tag);
    CHECK_EQUAL(length, strlen(line));
    CHECK(memcmp(got, line, length) == 0);
}

static void cri_lines(void) {
    struct world w;
    world_begin(&w);
    int source[2];
    make_pipe(source);
    const char *path = path_in(&w, "log");
    struct pump_output o = cri_output(1, source[0], path, "stdout");
    CHECK_EQUAL(pump_output_add(w.p, &o), 0);
    write_text(source[1], "one\n\ntwo\r\nthr");
    settle(&w);
    CHECK_EQUAL(pump_is_idle(w.p), 0);
    write_text(source[1], "ee\r");
    settle(&w);
    write_text(source[1], "\nfour\rand\n");
    settle(&w);
    CHECK_EQUAL(pump_is_idle(w.p), 1);
    write_text(source[1], "unfinished");
    close(source[1]);
    CHECK_EQUAL(await_event(&w, PUMP_EV_OUTPUT_ENDED, 1), 0);
    struct text t = file_text(path);
    const char *at = (char *)t.at;
    check_entry(&at, "stdout", 'F', "one");
    check_entry(&at, "stdout", 'F', "");
    check_entry(&at, "stdout", 'F', "two");
    check_entry(&at, "stdout", 'F', "three");
    check_entry(&at, "stdout", 'F', "four\rand");
    check_entry(&at, "stdout", 'P', "unfinished");
    CHECK(*at == '\0');
    struct stat st;
    CHECK(stat(path, &st) == 0 && (st.st_mode & 07137) == 0);
    text_free(&t);
    world_end(&w);
}

static void check_long_line(size_t length, const char *ending, size_t piece, const char *tags) {
    struct world w;
    world_begin(&w);
    int source[2];
    make_pipe(source);
    const char *path = path_in(&w, "log");
    struct pump_output o = cri_output(1, source[0], path, "stderr");
    CHECK_EQUAL(pump_output_add(w.p, &o), 0);
    char *line = malloc(length + 3);
    for (size_t i = 0; i < length; i++)
        line[i] = (char)('a' + i % 23);
    strcpy(line + length, ending);
    size_t total = length + strlen(ending);
    for (size_t at = 0; at < total; at += piece) {
        write_all(source[1], line + at, total - at < piece ? total - at : piece);
        step(&w, 0);
        step(&w, 0);
    }
    close(source[1]);
    CHECK_EQUAL(await_event(&w, PUMP_EV_OUTPUT_ENDED, 1), 0);
    struct text t = file_text(path);
    const char *at = (char *)t.at;
    size_t seen = 0;
    for (; *tags != '\0'; tags++) {
        const char *got;
        size_t n;
        CHECK_EQUAL(entry_parse(&at, "stderr", &got, &n), *tags);
        CHECK(n <= 16384);
        CHECK(n == 16384 || tags[1] == '\0' || tags[2] == '\0');
        CHECK(seen + n <= length + 1 && memcmp(got, line + seen, n) == 0);
        seen += n;
    }
    CHECK(*at == '\0');
    CHECK(seen == length || (seen == length + 1 && ending[0] == '\r' && ending[1] == '\0'));
    free(line);
    text_free(&t);
    world_end(&w);
}

static void cri_long_lines(void) {
    const size_t pieces[] = {60000, 16384, 5000};
    for (int i = 0; i < 3; i++) {
        check_long_line(16383, "\n", pieces[i], "F");
        check_long_line(16384, "\n", pieces[i], "F");
        check_long_line(16384, "\r\n", pieces[i], "F");
        check_long_line(16384, "", pieces[i], "P");
        check_long_line(16384, "\r", pieces[i], "PP");
        check_long_line(16385, "\n", pieces[i], "PF");
        check_long_line(16385, "\r\n", pieces[i], "PF");
        check_long_line(16385, "", pieces[i], "PP");
        check_long_line(32768, "\n", pieces[i], "PF");
        check_long_line(50000, "\n", pieces[i], "PPPF");
        check_long_line(50000, "", pieces[i], "PPPP");
    }
    check_long_line(300, "\r\n", 1, "F");
}

static void cri_short_lines_in_bulk(void) {
    struct world w;
    world_begin(&w);
    int source[2];
    make_pipe(source);
    const char *path = path_in(&w, "log");
    struct pump_output o = cri_output(1, source[0], path, "stdout");
    CHECK_EQUAL(pump_output_add(w.p, &o), 0);
    char newlines[60000];
    memset(newlines, '\n', sizeof newlines);
    write_all(source[1], newlines, sizeof newlines);
    close(source[1]);
    CHECK_EQUAL(await_event(&w, PUMP_EV_OUTPUT_ENDED, 1), 0);
    struct text t = file_text(path);
    const char *at = (char *)t.at;
    for (size_t i = 0; i < sizeof newlines; i++)
        check_entry(&at, "stdout", 'F', "");
    CHECK(*at == '\0');
    text_free(&t);
    world_end(&w);
}

/* Two streams share a log that is reopened again and again: each stream's lines are whole, in order, once. */
static void cri_streams_share_a_log(void) {
    struct world w;
    world_begin(&w);
    int ends[2][2];
    const char *streams[2] = {"stdout", "stderr"};
    const char *path = path_in(&w, "log");
    char kept_path[128];
    snprintf(kept_path, sizeof kept_path, "%s", path);
    for (int i = 0; i < 2; i++) {
        make_pipe(ends[i]);
        struct pump_output o = cri_output((uint32_t)i + 1, ends[i][0], kept_path, streams[i]);
        CHECK_EQUAL(pump_output_add(w.p, &o), 0);
    }
    enum { LINES = 4000 };
    int files = 0;
    for (int line = 0; line < LINES; line++) {
        for (int i = 0; i < 2; i++) {
            char text[256];
            int n = snprintf(text, sizeof text, "%d of %s %.*s\n", line, streams[i], line % 150,
                             "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
                             "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
            int cut = line % 7 == 0 ? n / 2 : n;
            write_all(ends[i][1], text, (size_t)cut);
            if (cut < n) {
                step(&w, 0);
                write_all(ends[i][1], text + cut, (size_t)(n - cut));
            }
        }
        if (line % 50 == 0)
            step(&w, 0);
        if (line % 500 == 499) {
            char old[160];
            snprintf(old, sizeof old, "%s.%d", kept_path, files++);
            CHECK(rename(kept_path, old) == 0);
            CHECK_EQUAL(pump_output_reopen(w.p, 1), 0);
            step(&w, 0);
            CHECK_EQUAL(pump_output_reopen(w.p, 2), 0);
        }
    }
    close(ends[0][1]);
    close(ends[1][1]);
    await_event(&w, PUMP_EV_OUTPUT_ENDED, 1);
    await_event(&w, PUMP_EV_OUTPUT_ENDED, 2);
    int next[2] = {0, 0};
    for (int f = 0; f <= files; f++) {
        char name[160];
        if (f < files)
            snprintf(name, sizeof name, "%s.%d", kept_path, f);
        else
            snprintf(name, sizeof name, "%s", kept_path);
        struct text t = file_text(name);
        for (const char *at = (char *)t.at; *at != '\0';) {
            int i = strncmp(at + PUMP_TIMESTAMP_LENGTH + 1, "stderr", 6) == 0;
            const char *line;
            size_t n;
            CHECK_EQUAL(entry_parse(&at, streams[i], &line, &n), 'F');
            CHECK_EQUAL(atoi(line), next[i]);
            next[i]++;
        }
        text_free(&t);
    }
    CHECK_EQUAL(next[0], LINES);
    CHECK_EQUAL(next[1], LINES);
    world_end(&w);
}

static void cri_rotates_by_itself(void) {
    struct world w;
    world_begin(&w);
    int ends[2][2];
    char path[128];
    snprintf(path, sizeof path, "%s/log", w.folder);
    for (int i = 0; i < 2; i++) {
        make_pipe(ends[i]);
        struct pump_output o = cri_output((uint32_t)i + 1, ends[i][0], path, i == 0 ? "stdout" : "stderr");
        o.log_max_bytes = 10000;
        CHECK_EQUAL(pump_output_add(w.p, &o), 0);
    }
    struct stat st;
    for (int line = 0; line < 1000; line++) {
        write_text(ends[line % 2][1], "some text in a line\n");
        step(&w, 0);
        step(&w, 0);
        CHECK(stat(path, &st) == 0 && st.st_size <= 10000);
    }
    char old[160];
    snprintf(old, sizeof old, "%s.1", path);
    CHECK(stat(old, &st) == 0 && st.st_size <= 10000 && st.st_size > 9000);
    struct text t = file_text(path);
    int seen[2] = {0, 0};
    for (const char *at = (char *)t.at; *at != '\0';) {
        int i = strncmp(at + PUMP_TIMESTAMP_LENGTH + 1, "stderr", 6) == 0;
        check_entry(&at, i ? "stderr" : "stdout", 'F', "some text in a line");
        seen[i]++;
    }
    CHECK(abs(seen[0] - seen[1]) <= 1);
    text_free(&t);
    close(ends[0][1]);
    close(ends[1][1]);
    world_end(&w);
}

static void full_disk_does_not_stop_the_container(void) {
    struct world w;
    world_begin(&w);
    int source[2];
    make_pipe(source);
    struct pump_output o = file_output(1, source[0], "/dev/full");
    CHECK_EQUAL(pump_output_add(w.p, &o), 0);
    uint64_t written = 0;
    for (int i = 0; i < 50; i++) {
        write_stream(source[1], 9, &written, 60000);
        step(&w, 0);
    }
    CHECK_EQUAL(written, 3000000);
    CHECK_EQUAL(event_value(&w, PUMP_EV_SINK_ERROR, 1), ENOSPC);
    CHECK_EQUAL(count_events(&w, PUMP_EV_SINK_ERROR, 1), 1);
    CHECK_EQUAL(pump_output_drain(w.p, 1, 1000), 0);
    CHECK_EQUAL(await_event(&w, PUMP_EV_DRAINED, 1), PUMP_DRAINED_LOST);
    close(source[1]);
    CHECK_EQUAL(await_event(&w, PUMP_EV_OUTPUT_ENDED, 1), ENOSPC);
    world_end(&w);
}

static void failed_write_leaves_no_torn_line(void) {
    struct world w;
    world_begin(&w);
    int source[2];
    make_pipe(source);
    char path[128];
    snprintf(path, sizeof path, "%s/log", w.folder);
    struct pump_output o = cri_output(1, source[0], path, "stdout");
    CHECK_EQUAL(pump_output_add(w.p, &o), 0);
    struct rlimit old, low;
    CHECK(getrlimit(RLIMIT_FSIZE, &old) == 0);
    low = old;
    low.rlim_cur = 1000;
    CHECK(setrlimit(RLIMIT_FSIZE, &low) == 0);
    for (int i = 0; i < 100; i++)
        write_text(source[1], "a line that is torn in the middle\n");
    CHECK_EQUAL(await_event(&w, PUMP_EV_SINK_ERROR, 1), EFBIG);
    CHECK(setrlimit(RLIMIT_FSIZE, &old) == 0);
    write_text(source[1], "dropped\n");
    settle(&w);
    /* A new file is a new chance. */
    char moved[160];
    snprintf(moved, sizeof moved, "%s.1", path);
    CHECK(rename(path, moved) == 0);
    CHECK_EQUAL(pump_output_reopen(w.p, 1), 0);
    write_text(source[1], "there again\n");
    settle(&w);
    struct text t = file_text(moved);
    CHECK(t.length <= 1000 && t.length > 900);
    for (const char *at = (char *)t.at; *at != '\0';)
        check_entry(&at, "stdout", 'F', "a line that is torn in the middle");
    text_free(&t);
    t = file_text(path);
    const char *at = (char *)t.at;
    check_entry(&at, "stdout", 'F', "there again");
    CHECK(*at == '\0');
    text_free(&t);
    close(source[1]);
    world_end(&w);
}

/* Needs a small file system of its own; without the right to mount one there is nothing to test. */
static void space_that_comes_back_is_used(void) {
    struct world w;
    world_begin(&w);
    char disk[128], path[160], filler_path[160];
    snprintf(disk, sizeof disk, "%s/disk", w.folder);
    snprintf(path, sizeof path, "%s/log", disk);
    snprintf(filler_path, sizeof filler_path, "%s/filler", disk);
    CHECK(mkdir(disk, 0700) == 0);
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("tmpfs", disk, "tmpfs", 0, "size=131072") < 0) {
        world_end(&w);
        return;
    }
    int filler = open(filler_path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600), source[2];
    char filling[65536] = {0};
    write_all(filler, filling, sizeof filling);
    make_pipe(source);
    struct pump_output o = cri_output(1, source[0], path, "stdout");
    CHECK_EQUAL(pump_output_add(w.p, &o), 0);
    for (int i = 0; i < 2000; i++) {
        write_text(source[1], "a line of a log that fills a disk\n");
        if (i % 100 == 0)
            settle_for(&w, 1);
    }
    settle(&w);
    CHECK_EQUAL(event_value(&w, PUMP_EV_SINK_ERROR, 1), ENOSPC);
    CHECK(ftruncate(filler, 0) == 0);
    write_text(source[1], "room again\n");
    settle(&w);
    CHECK_EQUAL(pump_output_drain(w.p, 1, 1000), 0);
    CHECK_EQUAL(await_event(&w, PUMP_EV_DRAINED, 1), PUMP_DRAINED_ALL);
    CHECK_EQUAL(count_events(&w, PUMP_EV_SINK_ERROR, 1), 1);
    struct text t = file_text(path);
    const char *at = (char *)t.at;
    int lines = 0;
    while (strchr(at, '\n')[1] != '\0') {
        check_entry(&at, "stdout", 'F', "a line of a log that fills a disk");
        lines++;
    }
    CHECK(lines > 500);
    check_entry(&at, "stdout", 'F', "room again");
    close(source[1]);
    close(filler);
    await_event(&w, PUMP_EV_OUTPUT_ENDED, 1);
    text_free(&t);
    CHECK(umount(disk) == 0);
    world_end(&w);
}

static void timestamps_are_right(void) {
    char text[PUMP_TIMESTAMP_LENGTH + 1] = {0};
    cri_timestamp(text, 1475712429, 669794202);
    CHECK(strcmp(text, "2016-10-06T00:07:09.669794202Z") == 0);
    cri_timestamp(text, 951782399, 1);
    CHECK(strcmp(text, "2000-02-28T23:59:59.000000001Z") == 0);
}

/* Other sinks and sources. */

static void descriptor_sink(void) {
    struct world w;
    world_begin(&w);
    int source[2], sink[2];
    make_pipe(source);
    make_pipe(sink);
    CHECK(fcntl(sink[0], F_SETFL, O_NONBLOCK) == 0);
    struct pump_output o = {.id = 1, .source = source[0], .sink = PUMP_SINK_FD, .sink_fd = sink[1]};
    CHECK_EQUAL(pump_output_add(w.p, &o), 0);
    uint64_t written = 0;
    struct text t = {0};
    while (written < 500000) {
        write_stream(source[1], 10, &written, 500000 - written);
        read_some(sink[0], &t, 30000, NULL);
        step(&w, 0);
    }
    /* The logger stops reading: the drain is answered all the same, and nothing is lost. */
    write_stream(source[1], 10, &written, 60000);
    settle(&w);
    CHECK_EQUAL(pump_output_drain(w.p, 1, 50), 0);
    CHECK_EQUAL(await_event(&w, PUMP_EV_DRAINED, 1), PUMP_DRAINED_LOST);
    check_quiet(&w);
    close(source[1]);
    read_to_end(&w, sink[0], &t);
    CHECK_EQUAL(t.length, written);
    check_stream(10, 0, t.at, t.length);
    CHECK_EQUAL(await_event(&w, PUMP_EV_OUTPUT_ENDED, 1), 0);
    close(sink[0]);
    text_free(&t);
    world_end(&w);
}

static void descriptor_sink_that_breaks(void) {
    struct world w;
    world_begin(&w);
    int source[2], sink[2];
    make_pipe(source);
    make_pipe(sink);
    struct pump_output o = {.id = 1, .source = source[0], .sink = PUMP_SINK_FD, .sink_fd = sink[1]};
    CHECK_EQUAL(pump_output_add(w.p, &o), 0);
    uint64_t written = 0;
    for (int i = 0; i < 10; i++) {
        write_stream(source[1], 10, &written, SIZE_MAX);
        settle(&w);
    }
    close(sink[0]);
    CHECK_EQUAL(await_event(&w, PUMP_EV_SINK_ERROR, 1), EPIPE);
    settle(&w);
    for (int i = 0; i < 40; i++) {
        CHECK(write_stream(source[1], 10, &written, 50000) > 0);
        settle_for(&w, 2);
    }
    CHECK_EQUAL(pump_output_drain(w.p, 1, 1000), 0);
    CHECK_EQUAL(await_event(&w, PUMP_EV_DRAINED, 1), PUMP_DRAINED_LOST);
    check_quiet(&w);
    close(source[1]);
    CHECK_EQUAL(await_event(&w, PUMP_EV_OUTPUT_ENDED, 1), EPIPE);
    world_end(&w);
}

static void null_sink_drops(void) {
    struct world w;
    world_begin(&w);
    int source[2];
    make_pipe(source);
    struct pump_output o = {.id = 1, .source = source[0], .sink = PUMP_SINK_NULL, .sink_fd = -1};
    CHECK_EQUAL(pump_output_add(w.p, &o), 0);
    uint64_t written = 0;
    while (written < 1000000) {
        write_stream(source[1], 10, &written, 60000);
        step(&w, 0);
    }
    CHECK(w.p->scratch != NULL);
    /* Idle: the memory is given back. */
    int64_t end = pump_now_ms() + 10000;
    while (w.p->scratch != NULL || w.p->spare != NULL) {
        CHECK(pump_now_ms() < end);
        step(&w, 50);
    }
    close(source[1]);
    CHECK_EQUAL(await_event(&w, PUMP_EV_OUTPUT_ENDED, 1), 0);
    world_end(&w);
}

static void pty_as_source_and_destination(void) {
    struct world w;
    world_begin(&w);
    int master, slave;
    CHECK(openpty(&master, &slave, NULL, NULL, NULL) == 0);
    struct termios mode;
    tcgetattr(slave, &mode);
    cfmakeraw(&mode);
    tcsetattr(slave, TCSANOW, &mode);
    CHECK(fcntl(slave, F_SETFL, O_NONBLOCK) == 0);
    const char *out = fifo_in(&w, "out"), *in = fifo_in(&w, "in"), *spool = path_in(&w, "spool");
    int reader = open_reader(out);
    struct pump_output o = fifo_output(1, dup(master), out, spool, 1 << 20);
    o.source_is_pty = 1;
    CHECK_EQUAL(pump_output_add(w.p, &o), 0);
    struct pump_input i = {.id = 2, .dest = master, .dest_is_pty = 1, .fifo_path = in};
    CHECK_EQUAL(pump_input_add(w.p, &i), 0);
    int writer = open(in, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    CHECK(writer >= 0);
    write_text(writer, "typed");
    struct text t = {0}, typed = {0};
    read_until(&w, slave, &typed, 5);
    CHECK(memcmp(typed.at, "typed", 5) == 0);
    uint64_t written = 0;
    while (written < 300000) {
        write_stream(slave, 11, &written, 300000 - written);
        read_some(reader, &t, 100000, NULL);
        step(&w, 0);
    }
    CHECK_EQUAL(pump_output_drain(w.p, 1, 1000), 0);
    CHECK_EQUAL(await_event(&w, PUMP_EV_DRAINED, 1), PUMP_DRAINED_ALL);
    read_some(reader, &t, SIZE_MAX, NULL);
    CHECK_EQUAL(t.length, 300000);
    check_stream(11, 0, t.at, t.length);
    /* A terminal whose process does not read. */
    char keys[4096];
    memset(keys, 'k', sizeof keys);
    for (int n = 0; n < 100; n++)
        if (write(writer, keys, sizeof keys) < 0)
            settle_for(&w, 1);
    check_quiet(&w);
    close(slave);
    read_to_end(&w, reader, &t);
    CHECK_EQUAL(await_event(&w, PUMP_EV_OUTPUT_ENDED, 1), 0);
    check_quiet(&w);
    close(writer);
    close(reader);
    text_free(&t);
    text_free(&typed);
    world_end(&w);
}

static void one_blocked_output_does_not_delay_another(void) {
    struct world w;
    world_begin(&w);
    int stuck[2], source[2];
    make_pipe(stuck);
    make_pipe(source);
    const char *path = fifo_in(&w, "stuck");
    int reader = open_reader(path);
    struct pump_output o = fifo_output(1, stuck[0], path, NULL, 0);
    CHECK_EQUAL(pump_output_add(w.p, &o), 0);
    o = file_output(2, source[0], path_in(&w, "file"));
    CHECK_EQUAL(pump_output_add(w.p, &o), 0);
    uint64_t a = 0, b = 0;
    for (int i = 0; i < 20; i++) {
        write_stream(stuck[1], 12, &a, SIZE_MAX);
        CHECK_EQUAL(write_stream(source[1], 13, &b, 50000), 50000);
        step(&w, 0);
        step(&w, 0);
    }
    close(stuck[1]);
    close(source[1]);
    close(reader);
    world_end(&w);
}

/* Inputs. */

static void input_outlives_its_writers(void) {
    struct world w;
    world_begin(&w);
    int dest[2];
    make_pipe(dest);
    CHECK(fcntl(dest[0], F_SETFL, O_NONBLOCK) == 0);
    const char *path = fifo_in(&w, "in");
    struct pump_input i = {.id = 1, .dest = dest[1], .fifo_path = path};
    CHECK_EQUAL(pump_input_add(w.p, &i), 0);
    struct text t = {0};
    for (int n = 0; n < 3; n++) {
        int writer = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
        write_text(writer, "part ");
        close(writer);
        read_until(&w, dest[0], &t, (size_t)(n + 1) * 5);
        check_quiet(&w);
    }
    int writer = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    write_text(writer, "last");
    CHECK_EQUAL(pump_input_close(w.p, 1), 0);
    read_to_end(&w, dest[0], &t);
    CHECK(strcmp((char *)t.at, "part part part last") == 0);
    CHECK_EQUAL(await_event(&w, PUMP_EV_INPUT_ENDED, 1), 0);
    CHECK_EQUAL(pump_input_close(w.p, 1), -ENOENT);
    close(writer);
    close(dest[0]);
    text_free(&t);
    world_end(&w);
}

static void input_close_delivers_all_to_a_slow_process(void) {
    struct world w;
    world_begin(&w);
    int dest[2];
    make_pipe(dest);
    CHECK(fcntl(dest[0], F_SETFL, O_NONBLOCK) == 0);
    const char *path = fifo_in(&w, "in");
    struct pump_input i = {.id = 1, .dest = dest[1], .fifo_path = path};
    CHECK_EQUAL(pump_input_add(w.p, &i), 0);
    int writer = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    uint64_t written = 0, last;
    do {
        last = written;
        write_stream(writer, 14, &written, SIZE_MAX);
        settle(&w);
    } while (last != written);
    check_quiet(&w); /* the destination is full */
    CHECK_EQUAL(pump_is_idle(w.p), 0);
    CHECK_EQUAL(pump_input_close(w.p, 1), 0);
    check_quiet(&w);
    struct text t = {0};
    read_to_end(&w, dest[0], &t);
    CHECK_EQUAL(t.length, written);
    check_stream(14, 0, t.at, t.length);
    close(writer);
    close(dest[0]);
    text_free(&t);
    world_end(&w);
}

static void input_whose_process_went(void) {
    struct world w;
    world_begin(&w);
    int dest[2];
    make_pipe(dest);
    const char *path = fifo_in(&w, "in");
    struct pump_input i = {.id = 1, .dest = dest[1], .fifo_path = path};
    CHECK_EQUAL(pump_input_add(w.p, &i), 0);
    int writer = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    close(dest[0]);
    write_text(writer, "too late");
    CHECK_EQUAL(await_event(&w, PUMP_EV_INPUT_ENDED, 1), EPIPE);
    CHECK(write(writer, "x", 1) < 0 && errno == EPIPE);
    close(writer);
    world_end(&w);
}

/* Watches and threads. */

static void watches_fire_once(void) {
    struct world w;
    world_begin(&w);
    int a[2];
    make_pipe(a);
    CHECK_EQUAL(pump_watch(w.p, 5, a[0], POLLIN), 0);
    settle(&w);
    CHECK_EQUAL(w.logged, 0);
    write_text(a[1], "x");
    CHECK_EQUAL(await_event(&w, PUMP_EV_READY, 5), POLLIN);
    check_quiet(&w);
    CHECK_EQUAL(count_events(&w, PUMP_EV_READY, 5), 1);
    CHECK_EQUAL(pump_watch(w.p, 5, a[0], POLLIN), 0);
    settle(&w);
    CHECK_EQUAL(count_events(&w, PUMP_EV_READY, 5), 2);
    CHECK_EQUAL(pump_watch(w.p, 5, a[1], POLLOUT), 0);
    settle(&w);
    CHECK_EQUAL(event_value(&w, PUMP_EV_READY, 5), POLLOUT);
    CHECK_EQUAL(pump_watch(w.p, 5, a[0], POLLIN), 0);
    CHECK_EQUAL(pump_unwatch(w.p, 5), 0);
    settle(&w);
    CHECK_EQUAL(count_events(&w, PUMP_EV_READY, 5), 3);
    CHECK_EQUAL(pump_unwatch(w.p, 5), -ENOENT);
    CHECK_EQUAL(pump_watch(w.p, 5, a[0], POLLIN), 0);
    close(a[1]);
    settle(&w);
    CHECK(event_value(&w, PUMP_EV_READY, 5) & POLLHUP);
    /* The owner closes and gets the same number again. */
    int number = a[0];
    close(a[0]);
    make_pipe(a);
    CHECK_EQUAL(a[0], number);
    CHECK_EQUAL(pump_watch(w.p, 5, a[0], POLLIN), 0);
    write_text(a[1], "y");
    settle(&w);
    CHECK_EQUAL(event_value(&w, PUMP_EV_READY, 5), POLLIN);
    CHECK_EQUAL(pump_watch(w.p, 6, -1, POLLIN), -EBADF);
    CHECK_EQUAL(pump_watch(w.p, 0, a[0], POLLIN), -EINVAL);
    close(a[0]);
    close(a[1]);
    world_end(&w);
}

static void events_come_in_small_portions(void) {
    struct world w;
    world_begin(&w);
    int pipes[10][2];
    for (uint32_t i = 0; i < 10; i++) {
        make_pipe(pipes[i]);
        CHECK_EQUAL(pump_watch(w.p, i + 1, pipes[i][1], POLLOUT), 0);
    }
    struct pump_event one;
    for (int i = 0; i < 10; i++)
        CHECK_EQUAL(pump_step(w.p, 1000, &one, 1), 1);
    CHECK_EQUAL(pump_step(w.p, 0, &one, 1), 0);
    CHECK_EQUAL(pump_step(w.p, 0, &one, 0), -EINVAL);
    for (int i = 0; i < 10; i++) {
        close(pipes[i][0]);
        close(pipes[i][1]);
    }
    world_end(&w);
}

struct stepping {
    struct pump *p;
    int ended;
    bool stop;
};

static void *step_thread(void *argument) {
    struct stepping *s = argument;
    while (!__atomic_load_n(&s->stop, __ATOMIC_ACQUIRE)) {
        struct pump_event events[4];
        int n = pump_step(s->p, -1, events, 4);
        for (int i = 0; i < n; i++)
            if (events[i].kind == PUMP_EV_OUTPUT_ENDED)
                __atomic_add_fetch(&s->ended, 1, __ATOMIC_ACQ_REL);
    }
    return NULL;
}

struct calling {
    struct pump *p;
    char path[128];
    uint32_t first_id;
};

enum { CALLS = 150 };

static void *call_thread(void *argument) {
    struct calling *c = argument;
    for (uint32_t i = 0; i < CALLS; i++) {
        int source[2];
        make_pipe(source);
        struct pump_output o = file_output(c->first_id + i, source[0], c->path);
        CHECK_EQUAL(pump_output_add(c->p, &o), 0);
        write_text(source[1], "0123456789");
        CHECK_EQUAL(pump_output_drain(c->p, o.id, 1000), 0);
        CHECK(pump_output_finish(c->p, o.id, 1000) == 0);
        pump_is_idle(c->p);
        close(source[1]);
    }
    return NULL;
}

static void calls_from_many_threads(void) {
    struct world w;
    world_begin(&w);
    struct stepping s = {.p = w.p};
    pthread_t stepper, callers[3];
    struct calling calling[3];
    CHECK(pthread_create(&stepper, NULL, step_thread, &s) == 0);
    for (uint32_t i = 0; i < 3; i++) {
        calling[i] = (struct calling){.p = w.p, .first_id = 1 + i * 1000};
        snprintf(calling[i].path, sizeof calling[i].path, "%s/%u", w.folder, i);
        CHECK(pthread_create(&callers[i], NULL, call_thread, &calling[i]) == 0);
    }
    for (int i = 0; i < 3; i++)
        CHECK(pthread_join(callers[i], NULL) == 0);
    int64_t end = pump_now_ms() + 10000;
    while (__atomic_load_n(&s.ended, __ATOMIC_ACQUIRE) < 3 * CALLS && pump_now_ms() < end)
        usleep(1000);
    CHECK_EQUAL(s.ended, 3 * CALLS);
    __atomic_store_n(&s.stop, true, __ATOMIC_RELEASE);
    CHECK_EQUAL(pump_wake(w.p), 0);
    CHECK(pthread_join(stepper, NULL) == 0);
    for (int i = 0; i < 3; i++) {
        struct stat st;
        CHECK(stat(calling[i].path, &st) == 0 && st.st_size == CALLS * 10);
    }
    world_end(&w);
}

int main(void) {
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    umask(022);
    run_test("a FIFO's reader gets all bytes and the end of file", fifo_delivers);
    run_test("a slow reader gives back-pressure", slow_reader_gives_back_pressure);
    run_test("a reader that comes late gets everything from the spool", reader_that_comes_late);
    run_test("a reader that leaves and comes back misses nothing", reader_that_leaves_and_comes_back);
    run_test("a full spool gives back-pressure until a reader is back", full_spool_gives_back_pressure);
    run_test("without a spool an absent reader gives back-pressure", without_spool_an_absent_reader_gives_back_pressure);
    run_test("a spool that cannot be made gives back-pressure", spool_that_cannot_be_made_gives_back_pressure);
    run_test("the end waits for a reader of what is in the FIFO", end_waits_for_a_reader_of_what_is_in_the_fifo);
    run_test("readers are found where inotify has no instance left", readers_are_found_without_inotify);
    run_test("a path that is no FIFO is refused, and the source closed", fifo_of_another_kind_is_refused);
    run_test("a drain does not wait for who holds the pipe open", drain_does_not_wait_for_who_holds_the_pipe);
    run_test("a drain ends although somebody floods the pipe", drain_ends_although_somebody_floods);
    run_test("a drain spools what a stalled reader leaves", drain_spools_what_a_stalled_reader_leaves);
    run_test("a drain without a reader is spooled at once", drain_without_a_reader_is_spooled_at_once);
    run_test("finish waits for a slow reader that makes progress", finish_waits_for_a_slow_reader);
    run_test("8 MiB of a process that is gone are delivered", eight_megabytes_of_a_process_that_is_gone);
    run_test("finish gives up on who takes nothing", finish_gives_up_on_who_takes_nothing);
    run_test("finish without a byte ends at once", finish_without_a_byte_ends_at_once);
    run_test("a file gets everything, across rotation", file_gets_everything);
    run_test("CRI: lines, empty lines, CR LF, an unfinished last line", cri_lines);
    run_test("CRI: long lines are cut at 16384 bytes", cri_long_lines);
    run_test("CRI: sixty thousand empty lines at once", cri_short_lines_in_bulk);
    run_test("CRI: two streams share a log that is rotated", cri_streams_share_a_log);
    run_test("CRI: a log rotates by itself at its size", cri_rotates_by_itself);
    run_test("a full disk is told once and does not stop the container", full_disk_does_not_stop_the_container);
    run_test("a failed write leaves no torn line", failed_write_leaves_no_torn_line);
    run_test("space that comes back on a disk is used", space_that_comes_back_is_used);
    run_test("timestamps are RFC 3339 with nine digits", timestamps_are_right);
    run_test("a descriptor as sink", descriptor_sink);
    run_test("a descriptor as sink that breaks", descriptor_sink_that_breaks);
    run_test("no sink: read and dropped, and memory given back when idle", null_sink_drops);
    run_test("a pty as source and destination", pty_as_source_and_destination);
    run_test("one blocked output does not delay another", one_blocked_output_does_not_delay_another);
    run_test("an input outlives its writers and is drained on close", input_outlives_its_writers);
    run_test("closing an input delivers all to a slow process", input_close_delivers_all_to_a_slow_process);
    run_test("an input whose process went says so", input_whose_process_went);
    run_test("watches fire once until armed again", watches_fire_once);
    run_test("events come in small portions", events_come_in_small_portions);
    run_test("calls from many threads while another steps", calls_from_many_threads);
    return 0;
}
