/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_DESCRIPTOR_H
#define BERTH_DESCRIPTOR_H

#include <stddef.h>
#include <sys/types.h>

/* Never wait, whether or not the descriptor is non-blocking, and never raise SIGPIPE. Bytes, or -errno (-EAGAIN: not now). */
ssize_t descriptor_read(int fd, void *into, size_t length);
ssize_t descriptor_write(int fd, const void *from, size_t length);

#endif
