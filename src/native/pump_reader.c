/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The far end of a FIFO: whether somebody has it open for reading, and waiting for that without polling.
 *
 * A write end without readers reports EPOLLERR for ever, and no event when a reader comes. inotify does tell of the opening; the
 * state is looked up again after the watch is set, so that no opening falls in between. A process' instances of inotify
 * are few (128 a user by default), so the pump has one only while a reader is absent, and looks twice a second if there is none.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "pump_internal.h"

bool fifo_has_reader(int write_fd) {
    struct pollfd f = {.fd = write_fd, .events = POLLOUT};
    return poll(&f, 1, 0) < 0 || (f.revents & POLLERR) == 0;
}

static int inotify_open(struct pump *p) {
    if (p->inotify_fd >= 0)
        return 0;
    int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    struct epoll_event ev = {.events = EPOLLIN, .data.u64 = slot_tag(0, ROLE_INOTIFY, 0)};
    if (fd < 0 || epoll_ctl(p->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0) {
        close_quietly(fd);
        return -1;
    }
    p->inotify_fd = fd;
    return 0;
}

static int watch_add(struct pump *p, const struct output *o) {
    if (inotify_open(p) < 0)
        return -1;
    /* By descriptor, as the path may lead elsewhere by now. */
    char link[32];
    snprintf(link, sizeof link, "/proc/self/fd/%d", o->sink.fd);
    if (inotify_add_watch(p->inotify_fd, link, IN_OPEN) >= 0)
        return 0;
    return inotify_add_watch(p->inotify_fd, o->path, IN_OPEN) < 0 ? -1 : 0;
}

void reader_watch(struct pump *p, struct output *o) {
    if (o->reader_watched)
        return;
    if (watch_add(p, o) == 0) {
        o->reader_watched = true;
    } else if (!p->poll_readers) {
        p->poll_readers = true;
        p->poll_readers_at_ms = p->now_ms + PUMP_READER_POLL_MS;
    }
    if (fifo_has_reader(o->sink.fd)) {
        reader_back(p, o);
        unit_dirty(p, &o->unit);
    }
}

void reader_back(struct pump *p, struct output *o) {
    o->reader_gone = false;
    reader_unwatch_if_unused(p);
}

void reader_check_all(struct pump *p) {
    for (struct unit *u = p->units; u != NULL; u = u->next)
        if (u->kind == PUMP_OUTPUT && ((struct output *)u)->reader_gone)
            unit_dirty(p, u);
}

void reader_unwatch_if_unused(struct pump *p) {
    for (struct unit *u = p->units; u != NULL; u = u->next)
        if (u->kind == PUMP_OUTPUT && ((struct output *)u)->reader_gone)
            return;
    p->poll_readers = false;
    if (p->inotify_fd < 0)
        return;
    close(p->inotify_fd);
    p->inotify_fd = -1;
    for (struct unit *u = p->units; u != NULL; u = u->next)
        if (u->kind == PUMP_OUTPUT)
            ((struct output *)u)->reader_watched = false;
}

void reader_inotify_drain(struct pump *p) {
    char events[4096];
    if (p->inotify_fd < 0)
        return;
    /* Which of them it is does not matter: each absent reader is looked up, which also covers an overflow. */
    while (read(p->inotify_fd, events, sizeof events) > 0)
        continue;
    reader_check_all(p);
}
