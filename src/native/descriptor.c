/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "descriptor.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <unistd.h>

/* Errors and hang-ups count as ready: the call then says what it is. */
static bool ready(int fd, short bits) {
    struct pollfd one = { .fd = fd, .events = bits };
    return poll(&one, 1, 0) > 0;
}

static bool may_block(int fd) {
    int flags = fcntl(fd, F_GETFL);
    return flags >= 0 && (flags & O_NONBLOCK) == 0;
}

ssize_t descriptor_read(int fd, void *into, size_t length) {
    ssize_t result;
    do {
        result = recv(fd, into, length, MSG_DONTWAIT);
        if (result < 0 && errno == ENOTSOCK) {
            if (may_block(fd) && !ready(fd, POLLIN))
                return -EAGAIN;
            result = read(fd, into, length);
        }
    } while (result < 0 && errno == EINTR);
    return result < 0 ? -errno : result;
}

ssize_t descriptor_write(int fd, const void *from, size_t length) {
    ssize_t result;
    do {
        result = send(fd, from, length, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (result < 0 && errno == ENOTSOCK) {
            /* A blocking pipe that is ready takes this much without waiting. */
            if (may_block(fd)) {
                if (!ready(fd, POLLOUT))
                    return -EAGAIN;
                length = length > PIPE_BUF ? PIPE_BUF : length;
            }
            result = write(fd, from, length);
        }
    } while (result < 0 && errno == EINTR);
    return result < 0 ? -errno : result;
}
