/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pump's loop: one epoll set, one lock, and a list of objects that need looking after ("dirty").
 *
 * Calls only change what is wanted and mark the object dirty; all reading and writing is done in pump_step, by the
 * object's own service function, which does a bounded amount of work and then tells epoll what it waits for. epoll is
 * level-triggered, so that whatever a service leaves undone comes back by itself.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "pump_internal.h"

enum { EVENTS_A_STEP = 64 };

void pump_lock(struct pump *p) {
    pthread_mutex_lock(&p->lock);
}

void pump_unlock(struct pump *p) {
    pthread_mutex_unlock(&p->lock);
}

int64_t pump_now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Units. */

struct unit *unit_find(struct pump *p, uint32_t id) {
    struct unit *u = p->units;
    while (u != NULL && u->id != id)
        u = u->next;
    return u;
}

int unit_id_check(struct pump *p, uint32_t id) {
    if (id == 0)
        return -EINVAL;
    return unit_find(p, id) == NULL ? 0 : -EEXIST;
}

void unit_link(struct pump *p, struct unit *u, uint32_t id, enum pump_unit_kind kind) {
    struct unit **last = &p->units;
    while (*last != NULL)
        last = &(*last)->next;
    u->id = id;
    u->kind = kind;
    u->next = NULL;
    *last = u;
}

static void dirty_unlink(struct pump *p, struct unit *u) {
    struct unit *before = NULL;
    for (struct unit *at = p->dirty_first; at != u; at = at->next_dirty)
        before = at;
    if (before == NULL)
        p->dirty_first = u->next_dirty;
    else
        before->next_dirty = u->next_dirty;
    if (p->dirty_last == u)
        p->dirty_last = before;
    u->next_dirty = NULL;
    u->dirty = false;
    p->dirty_count--;
}

void unit_unlink(struct pump *p, struct unit *u) {
    struct unit **at = &p->units;
    while (*at != NULL && *at != u)
        at = &(*at)->next;
    if (*at != NULL)
        *at = u->next;
    if (u->dirty)
        dirty_unlink(p, u);
}

void unit_dirty(struct pump *p, struct unit *u) {
    if (u->dirty || p->freeing)
        return;
    u->dirty = true;
    u->next_dirty = NULL;
    if (p->dirty_last == NULL)
        p->dirty_first = u;
    else
        p->dirty_last->next_dirty = u;
    p->dirty_last = u;
    p->dirty_count++;
    pump_kick(p);
}

/* Events. */

void event_add(struct pump *p, enum pump_event_kind kind, uint32_t id, int64_t value) {
    if (p->freeing)
        return;
    if (p->event_count == p->event_room) {
        size_t room = p->event_room == 0 ? 16 : p->event_room * 2;
        struct pump_event *events = realloc(p->events, room * sizeof *events);
        /* An event is a promise: a process that cannot find a few hundred bytes for it cannot go on. */
        if (events == NULL)
            abort();
        p->events = events;
        p->event_room = room;
    }
    p->events[p->event_count++] = (struct pump_event){.kind = (uint32_t)kind, .id = id, .value = value};
    pump_kick(p);
}

static int events_take(struct pump *p, struct pump_event *events, int max) {
    size_t n = p->event_count < (size_t)max ? p->event_count : (size_t)max;
    if (n == 0)
        return 0;
    memcpy(events, p->events, n * sizeof *events);
    p->event_count -= n;
    memmove(p->events, p->events + n, p->event_count * sizeof *events);
    if (p->event_count == 0) {
        free(p->events);
        p->events = NULL;
        p->event_room = 0;
    }
    return (int)n;
}

static void events_forget_ready(struct pump *p, uint32_t id) {
    size_t kept = 0;
    for (size_t i = 0; i < p->event_count; i++)
        if (p->events[i].kind != PUMP_EV_READY || p->events[i].id != id)
            p->events[kept++] = p->events[i];
    p->event_count = kept;
}

/* epoll. */

uint64_t slot_tag(uint32_t id, enum pump_role role, uint32_t arming) {
    return (uint64_t)id << 32 | (uint64_t)(arming & 0xffffff) << 8 | (uint64_t)role;
}

int slot_want(struct pump *p, struct slot *s, uint32_t mask, uint32_t id, enum pump_role role) {
    if (s->fd < 0 || (s->registered ? s->mask == mask : mask == 0))
        return 0;
    struct epoll_event ev = {.events = mask, .data.u64 = slot_tag(id, role, 0)};
    int op = mask == 0 ? EPOLL_CTL_DEL : s->registered ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    if (epoll_ctl(p->epoll_fd, op, s->fd, &ev) < 0)
        return -errno;
    s->registered = mask != 0;
    s->mask = mask;
    return 0;
}

void slot_close(struct pump *p, struct slot *s) {
    if (s->fd < 0)
        return;
    /* Closing alone does not take it out of epoll where the open file has other descriptors. */
    slot_want(p, s, 0, 0, ROLE_WAKE);
    close(s->fd);
    s->fd = -1;
}

/* Life. */

struct pump *pump_new(void) {
    struct pump *p = calloc(1, sizeof *p);
    if (p == NULL)
        return NULL;
    pthread_mutex_init(&p->lock, NULL);
    p->inotify_fd = -1;
    p->client_slow_ms = PUMP_CLIENT_SLOW_MS;
    p->now_ms = pump_now_ms();
    p->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    p->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct epoll_event ev = {.events = EPOLLIN, .data.u64 = slot_tag(0, ROLE_WAKE, 0)};
    if (p->epoll_fd < 0 || p->wake_fd < 0 || epoll_ctl(p->epoll_fd, EPOLL_CTL_ADD, p->wake_fd, &ev) < 0) {
        int error = errno;
        pump_free(p);
        errno = error;
        return NULL;
    }
    return p;
}

static void watch_free(struct pump *p, struct watch *w) {
    unit_unlink(p, &w->unit);
    events_forget_ready(p, w->unit.id);
    free(w);
}

void pump_free(struct pump *p) {
    if (p == NULL)
        return;
    p->freeing = true;
    while (p->units != NULL) {
        struct unit *u = p->units;
        switch (u->kind) {
        case PUMP_OUTPUT: output_free(p, (struct output *)u); break;
        case PUMP_INPUT: input_free(p, (struct input *)u); break;
        case PUMP_CLIENT: client_free(p, (struct client *)u); break;
        case PUMP_WATCH: watch_free(p, (struct watch *)u); break;
        }
    }
    pump_trim(p);
    free(p->events);
    close_quietly(p->inotify_fd);
    close_quietly(p->wake_fd);
    close_quietly(p->epoll_fd);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

void pump_kick(struct pump *p) {
    if (p->waiting) {
        p->waiting = false;
        pump_wake(p);
    }
}

int pump_wake(struct pump *p) {
    uint64_t one = 1;
    if (write(p->wake_fd, &one, sizeof one) < 0 && errno != EAGAIN)
        return -errno;
    return 0;
}

/* Watches. */

int pump_watch(struct pump *p, uint32_t id, int fd, int poll_bits) {
    pump_lock(p);
    struct unit *u = unit_find(p, id);
    struct watch *w = (struct watch *)u;
    int result = 0;
    bool is_new = u == NULL;
    if (id == 0) {
        result = -EINVAL;
    } else if (is_new) {
        w = calloc(1, sizeof *w);
        if (w == NULL)
            result = -ENOMEM;
        else
            unit_link(p, &w->unit, id, PUMP_WATCH);
    } else if (u->kind != PUMP_WATCH) {
        result = -EEXIST;
    }
    if (result < 0) {
        pump_unlock(p);
        return result;
    }
    if (!is_new && w->fd != fd)
        epoll_ctl(p->epoll_fd, EPOLL_CTL_DEL, w->fd, NULL);
    bool known = !is_new && w->fd == fd;
    w->fd = fd;
    w->arming = ++p->armings;
    struct epoll_event ev = {
        .events = ((uint32_t)poll_bits & (POLLIN | POLLOUT | POLLPRI)) | EPOLLONESHOT,
        .data.u64 = slot_tag(id, ROLE_WATCH, w->arming),
    };
    int rc = epoll_ctl(p->epoll_fd, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &ev);
    /* Its owner may have closed the descriptor and got the same number again. */
    if (rc < 0 && known && errno == ENOENT)
        rc = epoll_ctl(p->epoll_fd, EPOLL_CTL_ADD, fd, &ev);
    if (rc < 0) {
        result = -errno;
        watch_free(p, w);
    }
    pump_unlock(p);
    return result;
}

int pump_unwatch(struct pump *p, uint32_t id) {
    pump_lock(p);
    struct unit *u = unit_find(p, id);
    int result = -ENOENT;
    if (u != NULL && u->kind == PUMP_WATCH) {
        struct watch *w = (struct watch *)u;
        epoll_ctl(p->epoll_fd, EPOLL_CTL_DEL, w->fd, NULL);
        watch_free(p, w);
        result = 0;
    }
    pump_unlock(p);
    return result;
}

/* The step. */

static void dispatch(struct pump *p, const struct epoll_event *ev) {
    uint32_t id = (uint32_t)(ev->data.u64 >> 32);
    enum pump_role role = (enum pump_role)(ev->data.u64 & 0xff);
    if (role == ROLE_WAKE) {
        uint64_t count;
        ssize_t n = read(p->wake_fd, &count, sizeof count);
        (void)n; /* EAGAIN: another event of the same wake */
        return;
    }
    if (role == ROLE_INOTIFY) {
        reader_inotify_drain(p);
        return;
    }
    /* The unit may have been removed, or even replaced, since epoll_wait returned: a look too many does no harm. */
    struct unit *u = unit_find(p, id);
    if (u == NULL)
        return;
    if (role == ROLE_WATCH) {
        if (u->kind == PUMP_WATCH && slot_tag(id, role, ((struct watch *)u)->arming) == ev->data.u64)
            event_add(p, PUMP_EV_READY, id, (int64_t)(ev->events & ~(uint32_t)EPOLLONESHOT));
        return;
    }
    if (role == ROLE_DEST && u->kind == PUMP_INPUT && (ev->events & (EPOLLHUP | EPOLLERR)) != 0)
        ((struct input *)u)->dest_hung_up = true;
    if (u->kind != PUMP_WATCH)
        unit_dirty(p, u);
}

/* Each that is dirty now is served once; what becomes dirty meanwhile waits for the next step. */
static void serve_dirty(struct pump *p) {
    if (p->dirty_count > 0)
        p->worked_at_ms = p->now_ms;
    for (size_t left = p->dirty_count; left > 0 && p->dirty_first != NULL; left--) {
        struct unit *u = p->dirty_first;
        dirty_unlink(p, u);
        switch (u->kind) {
        case PUMP_OUTPUT: output_service(p, (struct output *)u); break;
        case PUMP_INPUT: input_service(p, (struct input *)u); break;
        case PUMP_CLIENT: client_service(p, (struct client *)u); break;
        case PUMP_WATCH: break;
        }
    }
}

static int64_t unit_deadline(const struct pump *p, const struct unit *u) {
    if (u->kind == PUMP_OUTPUT)
        return output_deadline((const struct output *)u);
    if (u->kind == PUMP_CLIENT)
        return client_deadline(p, (const struct client *)u);
    return INT64_MAX;
}

static int64_t next_deadline(const struct pump *p) {
    int64_t first = p->poll_readers ? p->poll_readers_at_ms : INT64_MAX;
    if ((p->scratch != NULL || p->spare != NULL) && p->worked_at_ms + PUMP_TRIM_MS < first)
        first = p->worked_at_ms + PUMP_TRIM_MS;
    for (const struct unit *u = p->units; u != NULL; u = u->next) {
        int64_t at = unit_deadline(p, u);
        if (at < first)
            first = at;
    }
    return first;
}

static void run_timers(struct pump *p) {
    if (p->poll_readers && p->now_ms >= p->poll_readers_at_ms) {
        p->poll_readers_at_ms = p->now_ms + PUMP_READER_POLL_MS;
        reader_check_all(p);
    }
    if (p->now_ms >= p->worked_at_ms + PUMP_TRIM_MS)
        pump_trim(p);
    for (struct unit *u = p->units; u != NULL; u = u->next)
        if (p->now_ms >= unit_deadline(p, u))
            unit_dirty(p, u);
}

/* epoll_wait with the lock released. The time is in ms, -1: no limit. */
static int wait_unlocked(struct pump *p, struct epoll_event *ready, int64_t timeout_ms) {
    p->waiting = timeout_ms != 0;
    pump_unlock(p);
    int n = epoll_wait(p->epoll_fd, ready, EVENTS_A_STEP, timeout_ms > INT32_MAX ? INT32_MAX : (int)timeout_ms);
    int result = n < 0 ? -errno : n;
    pump_lock(p);
    p->waiting = false;
    p->now_ms = pump_now_ms();
    return result;
}

int pump_step(struct pump *p, int timeout_ms, struct pump_event *events, int max_events) {
    if (max_events < 1)
        return -EINVAL;
    pump_lock(p);
    p->now_ms = pump_now_ms();
    serve_dirty(p);
    int taken = events_take(p, events, max_events);
    if (taken > 0) {
        pump_unlock(p);
        return taken;
    }
    int64_t wait_ms = timeout_ms < 0 ? -1 : timeout_ms;
    int64_t deadline = next_deadline(p);
    if (p->dirty_first != NULL || deadline <= p->now_ms)
        wait_ms = 0;
    else if (deadline != INT64_MAX && (wait_ms < 0 || deadline - p->now_ms < wait_ms))
        wait_ms = deadline - p->now_ms;

    struct epoll_event ready[EVENTS_A_STEP];
    int n = wait_unlocked(p, ready, wait_ms);
    if (n < 0 && n != -EINTR) {
        pump_unlock(p);
        return n;
    }
    for (int i = 0; i < n; i++)
        dispatch(p, &ready[i]);
    run_timers(p);
    serve_dirty(p);
    taken = events_take(p, events, max_events);
    pump_unlock(p);
    return taken;
}
