/* SPDX-License-Identifier: Apache-2.0 */
/* Questions about a whole pump, and giving one up without closing what it holds. */
#define _GNU_SOURCE
#include "pump_internal.h"

static void forget(int *fd) {
    *fd = -1;
}

void pump_abandon(struct pump *p) {
    for (struct unit *u = p->units; u != NULL; u = u->next) {
        if (u->kind == PUMP_OUTPUT) {
            struct output *o = (struct output *)u;
            forget(&o->source.fd);
            forget(&o->sink.fd);
            forget(&o->spool_fd);
        } else if (u->kind == PUMP_INPUT) {
            struct input *in = (struct input *)u;
            forget(&in->dest.fd);
            forget(&in->fifo.fd);
            forget(&in->fifo_write_fd);
        } else if (u->kind == PUMP_CLIENT) {
            forget(&((struct client *)u)->slot.fd);
        }
    }
    pump_free(p);
}

struct list {
    int *fds;
    int max;
    int count;
};

static void list_add(struct list *l, int fd) {
    if (fd < 0)
        return;
    if (l->count < l->max)
        l->fds[l->count] = fd;
    l->count++;
}

int pump_descriptors(struct pump *p, int *fds, int max) {
    struct list l = {.fds = fds, .max = max};
    pump_lock(p);
    for (const struct unit *u = p->units; u != NULL; u = u->next) {
        if (u->kind == PUMP_OUTPUT) {
            const struct output *o = (const struct output *)u;
            list_add(&l, o->source.fd);
            list_add(&l, o->sink.fd);
            list_add(&l, o->spool_fd);
        } else if (u->kind == PUMP_INPUT) {
            const struct input *in = (const struct input *)u;
            list_add(&l, in->dest.fd);
            list_add(&l, in->fifo.fd);
            list_add(&l, in->fifo_write_fd);
        } else if (u->kind == PUMP_CLIENT) {
            list_add(&l, ((const struct client *)u)->slot.fd);
        }
    }
    pump_unlock(p);
    return l.count;
}

int pump_is_idle(struct pump *p) {
    bool idle = true;
    pump_lock(p);
    idle = p->event_count == 0;
    for (const struct unit *u = p->units; u != NULL && idle; u = u->next) {
        if (u->kind == PUMP_OUTPUT) {
            const struct output *o = (const struct output *)u;
            idle = o->given == o->taken && o->hold_length == 0;
        } else if (u->kind == PUMP_INPUT) {
            const struct input *in = (const struct input *)u;
            idle = input_takes(in) && !in->closing;
        } else if (u->kind == PUMP_CLIENT) {
            const struct client *c = (const struct client *)u;
            idle = bytes_length(&c->queue) == 0 && c->header_length == 0;
        }
    }
    pump_unlock(p);
    return idle;
}
