/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `berth-logger NOTE LOG STREAM…`: writes what comes out of the FIFOs that are descriptors 3, 4, … into a CRI log, each as the
 * stream that is named; LOG '' drops it. It is there for containers of shims that know FIFOs only, and outlives the manager.
 *
 * NOTE    a file in which its pid stands, and then a line "ended" once all output has come to its end and is in the log
 * stdout  "ready" when it reads, or what keeps it from that; then it is closed
 * stderr  what goes wrong later, a line in logfmt
 * SIGHUP  opens LOG anew; SIGTERM writes what is there now, and ends
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

struct logger {
    const char *path; /* "": nothing is written */
    char *const *names;
    int count;
    int note;
    int signals;
    struct pump *pump;
    enum { WAITING, FLOWING, ENDED } streams[MOST_STREAMS];
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

/* Tells the manager of the day. */
static void report(const char *what, int error) {
    char line[256] = "level=error msg=\"";
    size_t room = sizeof line - sizeof "\"\n";
    strncat(line, what, room - strlen(line));
    strncat(line, ": ", room - strlen(line));
    strncat(line, strerror(error), room - strlen(line));
    strcat(line, "\"\n");
    put(STDERR_FILENO, line);
}

static bool note_pid(struct logger *logger, const char *path) {
    logger->note = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
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
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    signal(SIGINT, SIG_IGN);
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

static void start_stream(struct logger *logger, int stream) {
    pump_unwatch(logger->pump, WATCH_OF(stream));
    struct pump_output output = {
        .id = OUTPUT_OF(stream),
        .source = FIRST_STREAM + stream,
        .sink = logger->path[0] == '\0' ? PUMP_SINK_NULL : PUMP_SINK_CRI,
        .path = logger->path,
        .sink_fd = -1,
        .cri_stream = logger->names[stream],
    };
    int error = pump_output_add(logger->pump, &output);
    logger->streams[stream] = error < 0 ? ENDED : FLOWING;
    if (error < 0)
        report("the output of a container cannot be logged", -error);
}

static void reopen(struct logger *logger) {
    for (int i = 0; i < logger->count; i++) {
        if (logger->streams[i] != FLOWING || logger->path[0] == '\0')
            continue;
        int error = pump_output_reopen(logger->pump, OUTPUT_OF(i));
        if (error < 0 && error != -ENOENT)
            report("a log cannot be opened anew, and goes on in the old file", -error);
    }
    if (logger->path[0] != '\0')
        make_log(logger->path);
}

static bool has_something(int fd) {
    struct pollfd f = { .fd = fd, .events = POLLIN };
    return poll(&f, 1, 0) == 1;
}

static void finish(struct logger *logger) {
    for (int i = 0; i < logger->count; i++) {
        if (logger->streams[i] == WAITING && has_something(FIRST_STREAM + i))
            start_stream(logger, i);
        if (logger->streams[i] == FLOWING)
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
        report("the log of a container cannot be written, and its output is dropped", (int)event->value);
        break;
    default:
        break;
    }
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
    logger.count = argc - 3;
    if (argc < 4 || logger.count > MOST_STREAMS)
        return refuse("usage: berth-logger NOTE LOG STREAM [STREAM]", EINVAL);
    logger.path = argv[2];
    logger.names = argv + 3;
    if (!note_pid(&logger, argv[1]))
        return refuse(argv[1], errno);
    logger.pump = pump_new();
    if (!logger.pump || !set_up_signals(&logger))
        return refuse("set-up", errno);
    if (logger.path[0] != '\0' && !make_log(logger.path))
        return refuse(logger.path, errno);
    int error = watch_streams(&logger);
    if (error < 0)
        return refuse("a FIFO", -error);
    put(STDOUT_FILENO, "ready");
    close(STDOUT_FILENO);
    open("/dev/null", O_WRONLY | O_CLOEXEC);
    while (!has_ended(&logger)) {
        struct pump_event events[EVENTS_A_STEP];
        int count = pump_step(logger.pump, -1, events, EVENTS_A_STEP);
        for (int i = 0; i < count; i++)
            see_event(&logger, &events[i]);
    }
    put(logger.note, "ended\n");
    return 0;
}
