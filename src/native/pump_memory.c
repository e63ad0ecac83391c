/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks of memory and small descriptor duties. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "pump_internal.h"

static unsigned char *map(size_t size) {
    void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return at == MAP_FAILED ? NULL : at;
}

unsigned char *block_take(struct pump *p) {
    unsigned char *block = p->spare;
    if (block != NULL) {
        p->spare = NULL;
        return block;
    }
    return map(PUMP_BLOCK);
}

void block_give(struct pump *p, unsigned char *block) {
    if (block == NULL)
        return;
    if (p->spare == NULL)
        p->spare = block;
    else
        munmap(block, PUMP_BLOCK);
}

unsigned char *pump_scratch(struct pump *p) {
    if (p->scratch == NULL)
        p->scratch = map(PUMP_SCRATCH_READ + PUMP_SCRATCH_TEXT);
    return p->scratch;
}

void pump_trim(struct pump *p) {
    if (p->scratch != NULL)
        munmap(p->scratch, PUMP_SCRATCH_READ + PUMP_SCRATCH_TEXT);
    if (p->spare != NULL)
        munmap(p->spare, PUMP_BLOCK);
    p->scratch = NULL;
    p->spare = NULL;
}

size_t bytes_length(const struct bytes *b) {
    return b->end - b->start;
}

void bytes_advance(struct pump *p, struct bytes *b, size_t n) {
    b->start += (uint32_t)n;
    if (b->start == b->end)
        bytes_drop(p, b);
}

void bytes_drop(struct pump *p, struct bytes *b) {
    block_give(p, b->block);
    *b = (struct bytes){0};
}

int fd_prepare(int fd, bool nonblocking) {
    int flags = fcntl(fd, F_GETFD);
    if (flags < 0 || fcntl(fd, F_SETFD, flags | FD_CLOEXEC) < 0)
        return -errno;
    if (!nonblocking)
        return 0;
    flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
        return -errno;
    return 0;
}

int fd_readable_bytes(int fd) {
    int n = 0;
    return ioctl(fd, FIONREAD, &n) < 0 || n < 0 ? 0 : n;
}

void close_quietly(int fd) {
    if (fd >= 0)
        close(fd);
}
