/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the benchmark runs inside containers, and beside them as the reader of their output. Static, so that it starts at once
 * and measures nothing of itself.
 *
 *   probe announce        writes a line, waits for SIGTERM, writes the time of day in nanoseconds, and ends
 *   probe flood BYTES     writes lines of 128 bytes, that many bytes in all, as fast as they are taken
 *   probe drain FIFO      reads it to its end; then writes "BYTES NANOSECONDS", counted from the first byte to the last
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LINE = 128, CHUNK = 65536, DRAIN_BUFFER = 1 << 20 };

static char buffer[DRAIN_BUFFER];

static long long nanoseconds(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static void fail(const char *what)
{
    perror(what);
    _exit(1);
}

static void write_all(const char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t written = write(STDOUT_FILENO, bytes, length);
        if (written < 0 && errno != EINTR)
            fail("write");
        if (written > 0) {
            bytes += written;
            length -= (size_t)written;
        }
    }
}

static void on_signal(int number)
{
    (void)number;
}

static void announce(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigset_t blocked, before;
    char text[32];
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGTERM);
    sigprocmask(SIG_BLOCK, &blocked, &before);
    sigaction(SIGTERM, &action, NULL);
    write_all("ready\n", 6);
    sigsuspend(&before);
    write_all(text, (size_t)snprintf(text, sizeof text, "%lld\n", nanoseconds(CLOCK_REALTIME)));
    _exit(0);
}

static void flood(long long remaining)
{
    memset(buffer, 'x', CHUNK);
    for (int at = LINE - 1; at < CHUNK; at += LINE)
        buffer[at] = '\n';
    while (remaining > 0) {
        size_t next = remaining < CHUNK ? (size_t)remaining : CHUNK;
        write_all(buffer, next);
        remaining -= (long long)next;
    }
}

static void drain(const char *path)
{
    long long bytes = 0, first = 0, last = 0;
    int fd = open(path, O_RDONLY);
    if (fd < 0)
        fail(path);
    for (;;) {
        ssize_t got = read(fd, buffer, sizeof buffer);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            fail(path);
        if (got == 0)
            break;
        last = nanoseconds(CLOCK_MONOTONIC);
        if (bytes == 0)
            first = last;
        bytes += got;
    }
    printf("%lld %lld\n", bytes, last - first);
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "announce") == 0)
        announce();
    else if (argc == 3 && strcmp(argv[1], "flood") == 0)
        flood(atoll(argv[2]));
    else if (argc == 3 && strcmp(argv[1], "drain") == 0)
        drain(argv[2]);
    else
        return 2;
    return 0;
}
