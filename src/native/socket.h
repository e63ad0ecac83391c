/* SPDX-License-Identifier: Apache-2.0 */
/* Unix sockets. All descriptors are close-on-exec. Results: a descriptor or 0, or -errno. */
#ifndef BERTH_SOCKET_H
#define BERTH_SOCKET_H

#include <sys/types.h>

/* Non-blocking. A path over 107 bytes is reached through its folder's descriptor; its last name must still be short. */
int socket_listen(const char *path, int backlog, mode_t mode);
int socket_connect(const char *path);
int socket_pair(int fds[2]);
/* Non-blocking; -EAGAIN when no connection waits. */
int socket_accept(int fd);
int socket_peer(int fd, pid_t *, uid_t *, gid_t *);
/* The first descriptor of the next message. -EAGAIN: no message yet; -ECONNRESET: end of file; -EBADMSG: it had none. */
int socket_receive_descriptor(int fd);
/* One datagram without a sender's name, without waiting. A path that begins with '@' is in the abstract name space. 0 or -errno. */
int socket_send_datagram(const char *path, const char *text);

#endif
