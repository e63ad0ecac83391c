/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "socket.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define MOST_DESCRIPTORS_A_MESSAGE 16

struct address {
    struct sockaddr_un name;
    int folder; /* must stay open while the name is used; -1: none */
};

static int address_of(const char *path, struct address *address) {
    memset(address, 0, sizeof *address);
    address->folder = -1;
    address->name.sun_family = AF_UNIX;
    if (!*path)
        return -ENOENT;
    if (strlen(path) < sizeof address->name.sun_path) {
        strcpy(address->name.sun_path, path);
        return 0;
    }
    const char *slash = strrchr(path, '/');
    char folder[4096];
    if (!slash || (size_t)(slash - path) >= sizeof folder)
        return -ENAMETOOLONG;
    memcpy(folder, path, (size_t)(slash - path));
    folder[slash - path] = '\0';
    address->folder = open(slash == path ? "/" : folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (address->folder < 0)
        return -errno;
    size_t room = sizeof address->name.sun_path;
    int length = snprintf(address->name.sun_path, room, "/proc/self/fd/%d/%s", address->folder, slash + 1);
    if (length > 0 && (size_t)length < room)
        return 0;
    close(address->folder);
    return -ENAMETOOLONG;
}

static int new_socket(void) {
    return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

/* Ends what a call has begun: keeps errno, closes what is no longer needed. */
static int finish(struct address *address, int fd, int failed) {
    int error = errno;
    if (address->folder >= 0)
        close(address->folder);
    if (!failed)
        return fd;
    if (fd >= 0)
        close(fd);
    return -error;
}

int socket_listen(const char *path, int backlog, mode_t mode) {
    struct address address;
    int error = address_of(path, &address);
    if (error)
        return error;
    const struct sockaddr *name = (const struct sockaddr *)&address.name;
    int fd = new_socket();
    if (fd < 0 || bind(fd, name, sizeof address.name) < 0)
        return finish(&address, fd, 1);
    /* Nobody can connect before listen: so nobody can before the mode is right. */
    int failed = chmod(address.name.sun_path, mode) < 0 || listen(fd, backlog) < 0;
    if (failed) {
        error = errno;
        unlink(address.name.sun_path);
        errno = error;
    }
    return finish(&address, fd, failed);
}

int socket_connect(const char *path) {
    struct address address;
    int error = address_of(path, &address);
    if (error)
        return error;
    int fd = new_socket();
    int failed = fd < 0 || connect(fd, (const struct sockaddr *)&address.name, sizeof address.name) < 0;
    return finish(&address, fd, failed);
}

int socket_pair(int fds[2]) {
    return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0 ? -errno : 0;
}

int socket_accept(int fd) {
    for (;;) {
        int connection = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (connection >= 0)
            return connection;
        if (errno != EINTR && errno != ECONNABORTED)
            return -errno;
    }
}

int socket_peer(int fd, pid_t *pid, uid_t *uid, gid_t *gid) {
    struct ucred peer;
    socklen_t length = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) < 0)
        return -errno;
    *pid = peer.pid;
    *uid = peer.uid;
    *gid = peer.gid;
    return 0;
}

/* Keeps the first descriptor and closes all others that came with it. */
static int take_first(struct msghdr *message) {
    int first = -EBADMSG;
    for (struct cmsghdr *part = CMSG_FIRSTHDR(message); part; part = CMSG_NXTHDR(message, part)) {
        if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS)
            continue;
        size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(part) + i * sizeof fd, sizeof fd);
            if (first < 0)
                first = fd;
            else
                close(fd);
        }
    }
    return first;
}

int socket_receive_descriptor(int fd) {
    char payload[4096];
    union {
        struct cmsghdr aligned;
        char bytes[CMSG_SPACE(sizeof(int) * MOST_DESCRIPTORS_A_MESSAGE)];
    } control;
    struct iovec part = { .iov_base = payload, .iov_len = sizeof payload };
    struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control };
    ssize_t length;
    do
        length = recvmsg(fd, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    while (length < 0 && errno == EINTR);
    if (length < 0)
        return -errno;
    int received = take_first(&message);
    return length == 0 && received < 0 ? -ECONNRESET : received;
}

int socket_send_datagram(const char *path, const char *text) {
    struct sockaddr_un name = { .sun_family = AF_UNIX };
    size_t length = strlen(path);
    if (length == 0)
        return -ENOENT;
    if (length >= sizeof name.sun_path)
        return -ENAMETOOLONG;
    memcpy(name.sun_path, path, length);
    /* An abstract name begins with a zero byte and has no end but its length. */
    if (*path == '@')
        name.sun_path[0] = '\0';
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + (*path == '@' ? 0 : 1));
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    ssize_t sent =
        sendto(fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT, (const struct sockaddr *)&name, size);
    int error = sent < 0 ? -errno : 0;
    close(fd);
    return error;
}
