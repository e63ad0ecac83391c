/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keeper holds what the shim held while nobody asks anything of it: the descriptors, the children (unreaped), the pump.
 * On the first thing that the shim must see to, it becomes the shim again. It never exits.
 *
 * BERTH_WAKE=fd:bits,…       what to watch (poll bits); a watched descriptor is not read
 * BERTH_WAKE_AFTER_MS=n      or wake after so long
 * BERTH_PUMP=fd              what pump_save wrote; a new one goes back
 * BERTH_HANDOVER=fd          passed through, as are BERTH_KEEP=fd,… and BERTH_WAKE's descriptors
 * To the shim: BERTH_WOKEN_BY=request|child|timer|upgrade|event, BERTH_WOKEN_AT=ns:pid (of the epoch; a child that has ended, or
 * 0), BERTH_EVENTS=kind:id:value,… (what the pump said meanwhile)
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "keeper_text.h"
#include "launcher.h"
#include "pump.h"

/* Ids of the keeper's own watches; the shim counts its ids up from 1. */
#define SIGNAL_WATCH 0xffffffffu
#define FIRST_WAKE_WATCH 0xffff0000u

#define EVENTS_A_STEP 16
#define MOST_EVENTS 128 /* with so many the shim is woken, whatever they are */
#define RETRY_MILLISECONDS 1000

struct keeper {
    char *const *argv;
    char *const *envp;
    struct pump *pump;
    int saved_pump;  /* the descriptor of BERTH_PUMP, while it could not be understood; else -1 */
    int signals;     /* a signalfd for SIGCHLD and SIGUSR2 */
    int64_t wake_at; /* milliseconds of the monotonic clock; -1: never */
    const char *woken_by;
    int64_t woken_at;  /* nanoseconds since the epoch */
    pid_t ended_child; /* that has woken it, else 0 */
    struct pump_event events[MOST_EVENTS];
    size_t event_count;
};

static int64_t now_milliseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* The first reason counts. */
static void wake(struct keeper *keeper, const char *reason) {
    if (keeper->woken_by)
        return;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    keeper->woken_by = reason;
    keeper->woken_at = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* A child that has ended, which stays uncollected; 0: none. */
static pid_t ended_child(void) {
    siginfo_t info = { .si_pid = 0 };
    return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 ? info.si_pid : 0;
}

static void look_for_ended_child(struct keeper *keeper) {
    pid_t child = ended_child();
    if (child == 0)
        return;
    if (!keeper->woken_by)
        keeper->ended_child = child;
    wake(keeper, "child");
}

static void set_up_signals(struct keeper *keeper) {
    signal(SIGHUP, SIG_IGN);
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    sigset_t awaited;
    sigemptyset(&awaited);
    sigaddset(&awaited, SIGCHLD);
    sigaddset(&awaited, SIGUSR2);
    sigprocmask(SIG_SETMASK, &awaited, NULL);
    signal(SIGUSR2, SIG_DFL);
    keeper->signals = signalfd(-1, &awaited, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void watch_signals(struct keeper *keeper) {
    if (keeper->signals < 0 || pump_watch(keeper->pump, SIGNAL_WATCH, keeper->signals, POLLIN) < 0)
        wake(keeper, "event");
}

/* Signals of the same number are one; a child's end is only told from its signal by looking. */
static void take_signals(struct keeper *keeper) {
    struct signalfd_siginfo info;
    while (read(keeper->signals, &info, sizeof info) == (ssize_t)sizeof info) {
        if (info.ssi_signo == SIGUSR2)
            wake(keeper, "upgrade");
        else
            look_for_ended_child(keeper);
    }
    watch_signals(keeper);
}

static void watch_wake_descriptors(struct keeper *keeper) {
    const char *text = environment_value(keeper->envp, "BERTH_WAKE");
    int64_t fd, bits;
    for (uint32_t id = FIRST_WAKE_WATCH; text && read_number(&text, &fd) && read_number(&text, &bits); id++) {
        if (pump_watch(keeper->pump, id, (int)fd, (int)bits) < 0)
            wake(keeper, "request"); /* what cannot be watched must be looked at */
    }
}

/* The descriptor that was watched under this number; -1 where there is none. */
static int wake_descriptor(struct keeper *keeper, uint32_t wanted) {
    const char *text = environment_value(keeper->envp, "BERTH_WAKE");
    int64_t fd, bits;
    for (uint32_t id = FIRST_WAKE_WATCH; text && read_number(&text, &fd) && read_number(&text, &bits); id++) {
        if (id == wanted)
            return (int)fd;
    }
    return -1;
}

/*
 * A connection whose peer has gone without a word: nothing has to be done for it until something else has. So a manager that dies
 * does not wake all its shims at once, just when it is started again and needs the processors.
 */
static bool is_farewell(struct keeper *keeper, uint32_t id) {
    int fd = wake_descriptor(keeper, id);
    char byte;
    return fd >= 0 && recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

/* Spooling that goes on and off leaves one event: how it is now. */
static void keep_event(struct keeper *keeper, const struct pump_event *event) {
    for (size_t i = 0; i < keeper->event_count; i++) {
        struct pump_event *known = &keeper->events[i];
        if (event->kind == PUMP_EV_SPOOLING && known->kind == PUMP_EV_SPOOLING && known->id == event->id) {
            known->value = event->value;
            return;
        }
    }
    keeper->events[keeper->event_count++] = *event;
}

static void see_event(struct keeper *keeper, const struct pump_event *event) {
    if (event->kind == PUMP_EV_READY && event->id == SIGNAL_WATCH) {
        take_signals(keeper);
    } else if (event->kind == PUMP_EV_READY) {
        if (!is_farewell(keeper, event->id))
            wake(keeper, "request");
    } else {
        keep_event(keeper, event);
        if (event->kind != PUMP_EV_SPOOLING || keeper->event_count > MOST_EVENTS - EVENTS_A_STEP)
            wake(keeper, "event");
    }
}

static void step(struct keeper *keeper, int64_t until) {
    int64_t left = until < 0 ? -1 : until - now_milliseconds();
    int timeout = until < 0 ? -1 : left <= 0 ? 0 : left > INT32_MAX ? INT32_MAX : (int)left;
    struct pump_event events[EVENTS_A_STEP];
    size_t room = MOST_EVENTS - keeper->event_count;
    int count = pump_step(keeper->pump, timeout, events, room < EVENTS_A_STEP ? (int)room : EVENTS_A_STEP);
    for (int i = 0; i < count; i++)
        see_event(keeper, &events[i]);
}

static void sleep_until_woken(struct keeper *keeper) {
    look_for_ended_child(keeper);
    while (!keeper->woken_by) {
        step(keeper, keeper->wake_at);
        if (keeper->wake_at >= 0 && now_milliseconds() >= keeper->wake_at)
            wake(keeper, "timer");
    }
}

static void survive_exec(int64_t fd) {
    fcntl((int)fd, F_SETFD, 0);
}

static void listed_survive_exec(struct keeper *keeper, const char *variable, bool pairs) {
    const char *text = environment_value(keeper->envp, variable);
    int64_t fd, bits;
    while (text && read_number(&text, &fd)) {
        survive_exec(fd);
        if (pairs && !read_number(&text, &bits))
            return;
    }
}

static void pump_descriptors_survive_exec(struct keeper *keeper) {
    int room = pump_descriptors(keeper->pump, NULL, 0);
    int *fds = calloc((size_t)room + 1, sizeof *fds);
    if (!fds) {
        /* Rather a descriptor too many than one too few. */
        for (int fd = 3; fd < 1024; fd++)
            survive_exec(fd);
        return;
    }
    int count = pump_descriptors(keeper->pump, fds, room);
    for (int i = 0; i < count && i < room; i++)
        survive_exec(fds[i]);
    free(fds);
}

/* A memfd with the pump's state, at its start; or -1: errno. */
static int save_pump(struct keeper *keeper) {
    int fd = (int)syscall(SYS_memfd_create, "berth-pump", 0);
    if (fd < 0)
        return -1;
    int error = pump_save(keeper->pump, fd);
    if (error >= 0 && lseek(fd, 0, SEEK_SET) == 0)
        return fd;
    close(fd);
    errno = -error;
    return -1;
}

/*
 * Comes back only when it failed; then nothing is lost, and what was to be said is still to be said. Signals that would end a
 * host that is just starting are ignored until it listens for them (src/native/exec.h).
 */
static void become_host(struct keeper *keeper) {
    int pump = keeper->pump ? save_pump(keeper) : keeper->saved_pump;
    if (pump < 0) {
        complain("the keeper cannot save its pump, and tries again in a second", errno);
        return;
    }
    listed_survive_exec(keeper, "BERTH_WAKE", true);
    listed_survive_exec(keeper, "BERTH_KEEP", false);
    listed_survive_exec(keeper, "BERTH_HANDOVER", false);
    if (keeper->pump)
        pump_descriptors_survive_exec(keeper);

    sigset_t none, before;
    sigemptyset(&none);
    signal(SIGUSR2, SIG_IGN);
    sigprocmask(SIG_SETMASK, &none, &before);
    char **envp = host_environment(keeper->envp, pump, keeper->woken_by, keeper->woken_at, keeper->ended_child,
                                   keeper->events, keeper->event_count);
    if (envp)
        host_exec(keeper->argv, envp);
    int error = errno;
    sigprocmask(SIG_SETMASK, &before, NULL);
    signal(SIGUSR2, SIG_DFL);
    free_host_environment(envp);
    complain("the keeper cannot become the JavaScript host, and tries again in a second", error);
    if (keeper->pump)
        close(pump);
}

static void open_pump(struct keeper *keeper) {
    const char *text = environment_value(keeper->envp, "BERTH_PUMP");
    int64_t fd = -1;
    keeper->saved_pump = text && read_number(&text, &fd) ? (int)fd : -1;
    if (keeper->saved_pump >= 0 && lseek(keeper->saved_pump, 0, SEEK_SET) == 0)
        keeper->pump = pump_load(keeper->saved_pump);
    if (keeper->pump) {
        close(keeper->saved_pump);
        keeper->saved_pump = -1;
    } else {
        complain("the keeper does not understand the pump's state", errno);
        wake(keeper, "event");
    }
}

int keeper_main(char *const *argv, char *const *envp) {
    static struct keeper keeper;
    keeper.argv = argv;
    keeper.envp = envp;
    keeper.wake_at = -1;
    set_up_signals(&keeper);
    open_pump(&keeper);
    if (keeper.pump) {
        const char *after = environment_value(envp, "BERTH_WAKE_AFTER_MS");
        int64_t milliseconds;
        if (after && read_number(&after, &milliseconds))
            keeper.wake_at = now_milliseconds() + milliseconds;
        watch_signals(&keeper);
        watch_wake_descriptors(&keeper);
        sleep_until_woken(&keeper);
    }
    for (;;) {
        become_host(&keeper);
        /* Containers are served meanwhile. Who could not be told is told when the host runs. */
        int64_t retry_at = now_milliseconds() + RETRY_MILLISECONDS;
        do {
            if (keeper.pump && keeper.event_count < MOST_EVENTS)
                step(&keeper, retry_at);
            else
                poll(NULL, 0, RETRY_MILLISECONDS);
        } while (now_milliseconds() < retry_at);
    }
}
