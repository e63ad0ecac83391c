/* SPDX-License-Identifier: Apache-2.0 */
/* Throughput of the pump: child writes -> pump (a child) -> sink, read here. Not run in tests. */
#define _GNU_SOURCE
#include <sys/wait.h>

#include "pump_world.h"

enum { TOTAL_MB = 2000, WRITE = 65536 };

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void write_lines(int fd, long total) {
    static char block[WRITE];
    for (size_t i = 0; i < sizeof block; i++)
        block[i] = i % 100 == 99 ? '\n' : 'x';
    for (long done = 0; done < total; done += WRITE)
        for (size_t at = 0; at < WRITE;) {
            ssize_t n = write(fd, block + at, WRITE - at);
            if (n < 0)
                _exit(1);
            at += (size_t)n;
        }
    _exit(0);
}

static pid_t start_writer(int read_end, int write_end, long total) {
    pid_t pid = fork();
    if (pid == 0) {
        close(read_end);
        fcntl(write_end, F_SETFL, 0);
        write_lines(write_end, total);
    }
    close(write_end);
    return pid;
}

static pid_t start_reader(const char *path, int fd) {
    pid_t pid = fork();
    if (pid == 0) {
        static char buffer[262144];
        if (path != NULL)
            fd = open(path, O_RDONLY);
        while (read(fd, buffer, sizeof buffer) > 0)
            continue;
        _exit(0);
    }
    return pid;
}

static void report(const char *name, long total, double took) {
    printf("%-34s %7.0f MB/s\n", name, (double)total / 1e6 / took);
    fflush(stdout);
}

static void plain_pipe(bool to_file) {
    int ends[2];
    long total = TOTAL_MB * 1000000L;
    CHECK(pipe2(ends, O_CLOEXEC) == 0);
    double start = seconds();
    pid_t writer = start_writer(ends[0], ends[1], total);
    if (to_file) {
        static char buffer[65536];
        int fd = open("/tmp/berth-bench", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        ssize_t n;
        long at = 0;
        while ((n = read(ends[0], buffer, sizeof buffer)) > 0) {
            CHECK(write(fd, buffer, (size_t)n) == n);
            if ((at += n) > 200000000L) { /* keep the file small enough for the page cache */
                CHECK(ftruncate(fd, 0) == 0 && lseek(fd, 0, SEEK_SET) == 0);
                at = 0;
            }
        }
        close(fd);
        unlink("/tmp/berth-bench");
    } else {
        pid_t reader = start_reader(NULL, ends[0]);
        close(ends[0]);
        waitpid(reader, NULL, 0);
    }
    waitpid(writer, NULL, 0);
    report(to_file ? "plain pipe to file" : "plain pipe", total, seconds() - start);
}

static void pumped(const char *name, enum pump_sink kind, long total) {
    struct world w;
    world_begin(&w);
    int ends[2];
    CHECK(pipe2(ends, O_CLOEXEC) == 0);
    char path[128];
    snprintf(path, sizeof path, "%s/sink", w.folder);
    pid_t reader = -1;
    if (kind == PUMP_SINK_FIFO) {
        CHECK(mkfifo(path, 0600) == 0);
    }
    struct pump_output o = {.id = 1, .source = ends[0], .sink = kind, .path = path, .sink_fd = -1, .cri_stream = "stdout"};
    int write_end = ends[1];
    double start = seconds();
    pid_t writer = start_writer(ends[0], write_end, total);
    /* Before the pump opens the FIFO: a child that inherits its write end would never see the end. */
    if (kind == PUMP_SINK_FIFO)
        reader = start_reader(path, -1);
    CHECK_EQUAL(pump_output_add(w.p, &o), 0);
    struct stat st;
    bool ended = false;
    while (!ended) {
        step(&w, -1);
        ended = count_events(&w, PUMP_EV_OUTPUT_ENDED, 1) > 0;
        if (w.steps % 64 == 0 && kind != PUMP_SINK_FIFO && kind != PUMP_SINK_NULL && stat(path, &st) == 0 && st.st_size > 200000000)
            CHECK(truncate(path, 0) == 0);
    }
    if (reader > 0)
        waitpid(reader, NULL, 0);
    report(name, total, seconds() - start);
    waitpid(writer, NULL, 0);
    world_end(&w);
}

int main(void) {
    signal(SIGPIPE, SIG_IGN);
    long total = TOTAL_MB * 1000000L;
    plain_pipe(false);
    plain_pipe(true);
    pumped("pump to nothing", PUMP_SINK_NULL, total);
    pumped("pump to FIFO", PUMP_SINK_FIFO, total);
    pumped("pump to file", PUMP_SINK_FILE, total);
    pumped("pump to CRI log, 100-byte lines", PUMP_SINK_CRI, total);
    return 0;
}
