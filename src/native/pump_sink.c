/* SPDX-License-Identifier: Apache-2.0 */
/* Where an output goes: opening the sink and putting bytes into it. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pump_internal.h"

/* A FIFO's write end opens without blocking only while there is a reader: so we are one for a moment. */
static int fifo_open_for_writing(const char *path) {
    int helper = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (helper < 0)
        return -errno;
    struct stat st;
    int result;
    if (fstat(helper, &st) < 0)
        result = -errno;
    else if (!S_ISFIFO(st.st_mode))
        result = -EINVAL;
    else if ((result = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC)) < 0)
        result = -errno;
    close(helper);
    return result;
}

int file_open(const struct output *o) {
    /* A pod that can write where its log is must not have us write elsewhere. A file that a person names may be a link. */
    int follow = o->kind == PUMP_SINK_CRI ? O_NOFOLLOW : 0;
    /* O_NONBLOCK only keeps a FIFO that somebody put there from stopping the loop. */
    int fd = open(o->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | follow, 0640);
    return fd < 0 ? -errno : fd;
}

static void pipe_enlarge(int fd) {
    int size = fcntl(fd, F_GETPIPE_SZ);
    if (size > 0 && size < PUMP_PIPE_SIZE)
        fcntl(fd, F_SETPIPE_SZ, PUMP_PIPE_SIZE); /* refused beyond the user's share: then it stays as it is */
}

static bool is_pipe(int fd) {
    struct stat st;
    return fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode);
}

int sink_open(struct pump *p, struct output *o) {
    (void)p;
    int fd = -1;
    if (o->kind == PUMP_SINK_FIFO)
        fd = fifo_open_for_writing(o->path);
    else if (o->kind == PUMP_SINK_FILE || o->kind == PUMP_SINK_CRI)
        fd = file_open(o);
    if (fd < -1)
        return fd;
    if (fd >= 0)
        o->sink.fd = fd;
    pipe_enlarge(o->source.fd);
    if (o->kind == PUMP_SINK_FIFO)
        pipe_enlarge(o->sink.fd);
    o->may_splice = is_pipe(o->source.fd) && is_pipe(o->sink.fd);
    return 0;
}

ssize_t sink_write(struct output *o, const unsigned char *at, size_t n) {
    for (;;) {
        ssize_t wrote = write(o->sink.fd, at, n);
        if (wrote >= 0)
            return wrote;
        if (errno != EINTR)
            return -errno;
    }
}

void sink_failed(struct pump *p, struct output *o, int error) {
    o->failing = true;
    /* Room on a disk comes back; whatever else is wrong does not. */
    if (error != ENOSPC && error != EDQUOT)
        o->broken = true;
    if (o->first_errno == 0)
        o->first_errno = error;
    if (!o->error_told) {
        o->error_told = true;
        event_add(p, PUMP_EV_SINK_ERROR, o->unit.id, error);
    }
}

/* Files. */

static bool same_file_sink(const struct unit *u, const struct output *o) {
    if (u->kind != PUMP_OUTPUT)
        return false;
    const struct output *other = (const struct output *)u;
    return other->kind == o->kind && other->path != NULL && strcmp(other->path, o->path) == 0;
}

/* Renames the log to path.1 and lets every output of this pump that writes to it begin the new one. */
static void rotate(struct pump *p, struct output *o) {
    size_t length = strlen(o->path);
    char *old = malloc(length + 3);
    if (old == NULL)
        return;
    memcpy(old, o->path, length);
    memcpy(old + length, ".1", 3);
    if (rename(o->path, old) == 0) {
        bool any = false;
        for (struct unit *u = p->units; u != NULL; u = u->next) {
            struct output *other = (struct output *)u;
            if (!same_file_sink(u, o) || other->sink.fd < 0)
                continue;
            int fd = file_open(other);
            if (fd < 0)
                continue; /* it goes on with the renamed file: nothing is lost */
            close(other->sink.fd);
            other->sink.fd = fd;
            any = true;
        }
        if (!any)
            rename(old, o->path);
    }
    free(old);
}

static void rotate_if_full(struct pump *p, struct output *o, size_t next) {
    struct stat st;
    if (o->log_max_bytes == 0 || fstat(o->sink.fd, &st) < 0 || st.st_size == 0)
        return;
    if ((uint64_t)st.st_size + next > o->log_max_bytes)
        rotate(p, o);
}

/* Takes the piece of a line off the file's end that a failed write left there. */
static void cut_torn_line(int fd, const unsigned char *at, size_t written) {
    size_t whole = written;
    while (whole > 0 && at[whole - 1] != '\n')
        whole--;
    struct stat st;
    if (whole < written && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (size_t)st.st_size >= written - whole)
        if (ftruncate(fd, st.st_size - (off_t)(written - whole)) < 0)
            return;
}

int file_write(struct pump *p, struct output *o, const unsigned char *at, size_t n, bool whole_lines) {
    rotate_if_full(p, o, n);
    size_t done = 0;
    while (done < n) {
        ssize_t wrote = write(o->sink.fd, at + done, n - done);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote <= 0) {
            int error = wrote < 0 ? errno : EIO;
            if (whole_lines)
                cut_torn_line(o->sink.fd, at, done);
            return -error;
        }
        done += (size_t)wrote;
    }
    o->failing = false;
    return 0;
}

void sink_consume(struct pump *p, struct output *o, const unsigned char *at, size_t n) {
    if (o->kind == PUMP_SINK_NULL || o->broken)
        return;
    if (o->kind == PUMP_SINK_CRI) {
        cri_consume(p, o, at, n);
        return;
    }
    int rc = file_write(p, o, at, n, false);
    if (rc < 0)
        sink_failed(p, o, -rc);
}
