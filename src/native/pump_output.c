/* SPDX-License-Identifier: Apache-2.0 */
/* Outputs: adding, removing, and the calls about one. How their bytes flow is in pump_flow.c. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pump_internal.h"

struct output *output_find(struct pump *p, uint32_t id) {
    struct unit *u = id == 0 ? NULL : unit_find(p, id);
    return u != NULL && u->kind == PUMP_OUTPUT ? (struct output *)u : NULL;
}

void output_free(struct pump *p, struct output *o) {
    unit_unlink(p, &o->unit);
    slot_close(p, &o->source);
    slot_close(p, &o->sink);
    spool_close(o, true);
    bytes_drop(p, &o->rest);
    if (o->reader_gone)
        reader_unwatch_if_unused(p);
    if (o->unit.id != 0 && !p->freeing)
        clients_output_ended(p, o->unit.id);
    free(o->hold);
    free(o->path);
    free(o->stream);
    free(o->spool_path);
    free(o);
}

static int copy_text(char **to, const char *from) {
    if (from != NULL && (*to = strdup(from)) == NULL)
        return -ENOMEM;
    return 0;
}

static int source_check(int fd) {
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -errno;
    return S_ISREG(st.st_mode) || S_ISDIR(st.st_mode) ? -EINVAL : fd_prepare(fd, true);
}

static int add_check(const struct pump_output *want) {
    bool is_file = want->sink == PUMP_SINK_FILE || want->sink == PUMP_SINK_CRI;
    if (want->sink > PUMP_SINK_FD || ((is_file || want->sink == PUMP_SINK_FIFO) && want->path == NULL))
        return -EINVAL;
    if (want->sink == PUMP_SINK_CRI &&
        (want->cri_stream == NULL || want->cri_stream[0] == '\0' || strlen(want->cri_stream) > 15))
        return -EINVAL;
    return 0;
}

static int output_fill(struct pump *p, struct output *o, const struct pump_output *want) {
    int rc = add_check(want);
    if (rc == 0)
        rc = source_check(want->source);
    if (rc == 0 && want->sink == PUMP_SINK_FD)
        rc = fd_prepare(want->sink_fd, true);
    if (rc == 0)
        rc = copy_text(&o->path, want->path);
    if (rc == 0)
        rc = copy_text(&o->stream, want->cri_stream);
    if (rc == 0)
        rc = copy_text(&o->spool_path, want->spool_path);
    if (rc == 0)
        rc = sink_open(p, o);
    return rc;
}

int pump_output_add(struct pump *p, const struct pump_output *want) {
    struct output *o = calloc(1, sizeof *o);
    if (o == NULL) {
        close_quietly(want->source);
        close_quietly(want->sink == PUMP_SINK_FD ? want->sink_fd : -1);
        return -ENOMEM;
    }
    o->kind = want->sink;
    o->pty = want->source_is_pty != 0;
    o->source.fd = want->source;
    o->sink.fd = want->sink == PUMP_SINK_FD ? want->sink_fd : -1;
    o->spool_fd = -1;
    o->spool_limit = want->spool_limit < INT64_MAX ? want->spool_limit : INT64_MAX;
    if (want->sink == PUMP_SINK_CRI)
        o->log_max_bytes = want->log_max_bytes < INT64_MAX ? want->log_max_bytes : INT64_MAX;
    pump_lock(p);
    int rc = unit_id_check(p, want->id);
    if (rc == 0)
        rc = output_fill(p, o, want);
    if (rc == 0)
        rc = slot_want(p, &o->source, EPOLLIN, want->id, ROLE_SOURCE);
    if (rc < 0) {
        output_free(p, o);
    } else {
        unit_link(p, &o->unit, want->id, PUMP_OUTPUT);
        output_mark(p, o);
    }
    pump_unlock(p);
    return rc;
}

int pump_output_drain(struct pump *p, uint32_t id, uint32_t grace_ms) {
    pump_lock(p);
    struct output *o = output_find(p, id);
    if (o != NULL)
        output_wait_begin(p, o, &o->drain, grace_ms);
    pump_unlock(p);
    return o == NULL ? -ENOENT : 0;
}

int pump_output_finish(struct pump *p, uint32_t id, uint32_t grace_ms) {
    pump_lock(p);
    struct output *o = output_find(p, id);
    if (o != NULL)
        output_wait_begin(p, o, &o->finish, grace_ms);
    pump_unlock(p);
    return o == NULL ? -ENOENT : 0;
}

int pump_output_remove(struct pump *p, uint32_t id) {
    pump_lock(p);
    struct output *o = output_find(p, id);
    if (o != NULL)
        output_free(p, o);
    pump_unlock(p);
    return o == NULL ? -ENOENT : 0;
}

int pump_output_reopen(struct pump *p, uint32_t id) {
    pump_lock(p);
    struct output *o = output_find(p, id);
    int rc = -ENOENT;
    if (o != NULL && o->kind != PUMP_SINK_FILE && o->kind != PUMP_SINK_CRI) {
        rc = -EINVAL;
    } else if (o != NULL) {
        rc = file_open(o);
        if (rc >= 0) {
            slot_close(p, &o->sink);
            o->sink.fd = rc;
            o->broken = false;
            o->failing = false;
            rc = 0;
        }
    }
    pump_unlock(p);
    return rc;
}
