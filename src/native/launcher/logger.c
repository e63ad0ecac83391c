/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `berth-logger MODE NOTE LOG STREAM…`: writes what comes out of the FIFOs that are descriptors 3, 4, … into a CRI log, each as
 * the stream that is named; LOG '' drops it. It is there for containers of shims that know FIFOs only, and outlives the manager.
 *
 * MODE    "first": a log that cannot be written is refused; "again", for a container that runs: its output is dropped then
 * NOTE    a file that is there; its pid comes into it, and a line "ended" once all output has ended and is in the log
 * stdout  "ready" when it reads, or what keeps it from that; then it is closed
 * stderr  what goes wrong later, a line in logfmt
 * SIGHUP  opens LOG anew; SIGTERM writes what is there now, and ends, as does the removal of NOTE
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "launcher.h"
#include "pump.h"

#define FIRST_STREAM 3
#define MOST_STREAMS 2
/* Each stream's watch and its output have numbers of their own. */
#define OUTPUT_OF(stream) ((uint32_t)(1 + (stream)))
#define WATCH_OF(stream) ((uint32_t)(101 + (stream)))
#define SIGNAL_WATCH 200u

#define EVENTS_A_STEP 16
/* How long what cannot be written is tried when it is to end. */
#define FINISH_GRACE_MILLISECONDS 1000
/* How often it is seen whether anybody still wants it. */
#define LOOK_MILLISECONDS 60000

struct logger {
    const char *path; /* "": nothing is written */
    char *const *names;
    int count;
    int note;
    int signals;
    bool told_to_end;
    struct pump *pump;
    enum { WAITING, FLOWING, DROPPED, ENDED } streams[MOST_STREAMS];
};

static bool put(int fd, const char *text) {
    size_t length = strlen(text);
    return write(fd, text, length) == (ssize_t)length;
}

/* Tells whoever started it why it cannot do its work. */
static int refuse(const char *what, int error) {
    put(STDOUT_FILENO, what);
    put(STDOUT_FILENO, ": ");
    put(STDOUT_FILENO, strerror(error));
    return 1;
}

/* Tells the manager of the day. A quotation mark in the path would end the text. */
static void report(const struct logger *logger, const char *what, int error) {
    char line[1024] = "level=error msg=\"the log ";
    size_t room = sizeof line - sizeof "\"\n";
    strncat(line, strpbrk(logger->path, "\"\\\n") ? "of a container" : logger->path, room - strlen(line));
    strncat(line, what, room - strlen(line));
    strncat(line, ": ", room - strlen(line));
    strncat(line, strerror(error), room - strlen(line));
    strcat(line, "\"\n");
    put(STDERR_FILENO, line);
}

/* Nobody's descriptors but ours, and whoever does not read what is said here holds nothing up. */
static void set_up_descriptors(const struct logger *logger) {
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    signal(SIGINT, SIG_IGN);
    syscall(SYS_close_range, (unsigned)(FIRST_STREAM + logger->count), ~0U, 0U);
    int flags = fcntl(STDERR_FILENO, F_GETFL);
    if (flags >= 0)
        fcntl(STDERR_FILENO, F_SETFL, flags | O_NONBLOCK);
}

static bool note_pid(struct logger *logger, const char *path) {
    logger->note = open(path, O_WRONLY | O_TRUNC | O_APPEND | O_NOFOLLOW | O_CLOEXEC);
    char line[24];
    char *end = write_number(line, getpid());
    strcpy(end, "\n");
    return logger->note >= 0 && put(logger->note, line);
}

/* The log is there from the beginning, and what keeps it from being written is told at once. */
static bool make_log(const char *path) {
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | O_NOFOLLOW, 0640);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

static bool set_up_signals(struct logger *logger) {
    sigset_t awaited;
    sigemptyset(&awaited);
    sigaddset(&awaited, SIGHUP);
    sigaddset(&awaited, SIGTERM);
    sigprocmask(SIG_SETMASK, &awaited, NULL);
    logger->signals = signalfd(-1, &awaited, SFD_CLOEXEC | SFD_NONBLOCK);
    return logger->signals >= 0 && pump_watch(logger->pump, SIGNAL_WATCH, logger->signals, POLLIN) == 0;
}

/* A FIFO that nobody has opened for writing yet reads as ended: it is read from when something has happened to it. */
static int watch_streams(struct logger *logger) {
    for (int i = 0; i < logger->count; i++) {
        int error = pump_watch(logger->pump, WATCH_OF(i), FIRST_STREAM + i, POLLIN);
        if (error < 0)
            return error;
    }
    return 0;
}

/* The pump closes what it was given; the FIFO stays open for another attempt. */
static int add_output(struct logger *logger, int stream, enum pump_sink sink) {
    struct pump_output output = {
        .id = OUTPUT_OF(stream),
        .source = fcntl(FIRST_STREAM + stream, F_DUPFD_CLOEXEC, FIRST_STREAM),
        .sink = sink,
        .path = logger->path,
        .sink_fd = -1,
        .cri_stream = logger->names[stream],
    };
    return output.source < 0 ? -errno : pump_output_add(logger->pump, &output);
}

/* Rather no log than a container that waits for somebody to read. */
static void start_stream(struct logger *logger, int stream) {
    pump_unwatch(logger->pump, WATCH_OF(stream));
    int error = logger->path[0] == '\0' ? 0 : add_output(logger, stream, PUMP_SINK_CRI);
    if (logger->path[0] != '\0' && error >= 0) {
        logger->streams[stream] = FLOWING;
        return;
    }
    if (error < 0)
        report(logger, " cannot be opened, and output is dropped", -error);
    logger->streams[stream] = DROPPED;
    if (add_output(logger, stream, PUMP_SINK_NULL) < 0)
        _exit(1); /* without having noted an end: it is replaced */
}

static void reopen_stream(struct logger *logger, int stream) {
    int error = 0;
    if (logger->streams[stream] == FLOWING) {
        error = pump_output_reopen(logger->pump, OUTPUT_OF(stream));
    } else if (logger->streams[stream] == DROPPED) {
        pump_output_remove(logger->pump, OUTPUT_OF(stream));
        start_stream(logger, stream);
    }
    if (error < 0 && error != -ENOENT)
        report(logger, " cannot be opened anew, and goes on in the old file", -error);
}

static void reopen(struct logger *logger) {
    if (logger->path[0] == '\0')
        return;
    for (int i = 0; i < logger->count; i++)
        reopen_stream(logger, i);
    make_log(logger->path);
}

static bool has_something(int fd) {
    struct pollfd f = { .fd = fd, .events = POLLIN };
    return poll(&f, 1, 0) == 1;
}

static void finish(struct logger *logger) {
    logger->told_to_end = true;
    for (int i = 0; i < logger->count; i++) {
        if (logger->streams[i] == WAITING && has_something(FIRST_STREAM + i))
            start_stream(logger, i);
        if (logger->streams[i] == FLOWING || logger->streams[i] == DROPPED)
            pump_output_finish(logger->pump, OUTPUT_OF(i), FINISH_GRACE_MILLISECONDS);
        else
            logger->streams[i] = ENDED;
    }
}

static void take_signals(struct logger *logger) {
    struct signalfd_siginfo info;
    while (read(logger->signals, &info, sizeof info) == (ssize_t)sizeof info) {
        if (info.ssi_signo == SIGHUP)
            reopen(logger);
        else
            finish(logger);
    }
    pump_watch(logger->pump, SIGNAL_WATCH, logger->signals, POLLIN);
}

static void see_event(struct logger *logger, const struct pump_event *event) {
    switch (event->kind) {
    case PUMP_EV_READY:
        if (event->id == SIGNAL_WATCH)
            take_signals(logger);
        else if (logger->streams[event->id - WATCH_OF(0)] == WAITING)
            start_stream(logger, (int)(event->id - WATCH_OF(0)));
        break;
    case PUMP_EV_OUTPUT_ENDED:
        logger->streams[event->id - OUTPUT_OF(0)] = ENDED;
        break;
    case PUMP_EV_SINK_ERROR:
        report(logger, " cannot be written, and output is dropped", (int)event->value);
        break;
    default:
        break;
    }
}

static bool is_wanted(const struct logger *logger) {
    struct stat st;
    return fstat(logger->note, &st) == 0 && st.st_nlink > 0;
}

static bool has_ended(const struct logger *logger) {
    for (int i = 0; i < logger->count; i++) {
        if (logger->streams[i] != ENDED)
            return false;
    }
    return true;
}

int logger_main(int argc, char *const *argv) {
    static struct logger logger;
    logger.count = argc - 4;
    if (argc < 5 || logger.count > MOST_STREAMS)
        return refuse("usage: berth-logger first|again NOTE LOG STREAM [STREAM]", EINVAL);
    bool is_first = strcmp(argv[1], "first") == 0;
    logger.path = argv[3];
    logger.names = argv + 4;
    set_up_descriptors(&logger);
    if (!note_pid(&logger, argv[2]))
        return refuse(argv[2], errno);
    logger.pump = pump_new();
    if (!logger.pump || !set_up_signals(&logger))
        return refuse("set-up", errno);
    if (is_first && logger.path[0] != '\0' && !make_log(logger.path))
        return refuse(logger.path, errno);
    int error = watch_streams(&logger);
    if (error < 0)
        return refuse("a FIFO", -error);
    put(STDOUT_FILENO, "ready");
    close(STDOUT_FILENO);
    open("/dev/null", O_WRONLY | O_CLOEXEC);
    while (!has_ended(&logger)) {
        struct pump_event events[EVENTS_A_STEP];
        int count = pump_step(logger.pump, LOOK_MILLISECONDS, events, EVENTS_A_STEP);
        for (int i = 0; i < count; i++)
            see_event(&logger, &events[i]);
        if (count == 0 && !logger.told_to_end && !is_wanted(&logger))
            finish(&logger);
    }
    if (!logger.told_to_end)
        put(logger.note, "ended\n");
    return 0;
}
