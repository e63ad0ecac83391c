/* SPDX-License-Identifier: Apache-2.0 */
#include "pty.h"

#include <errno.h>
#include <sys/ioctl.h>

int pty_window_size(int fd, int *columns, int *rows) {
    struct winsize size;
    if (ioctl(fd, TIOCGWINSZ, &size) < 0)
        return -errno;
    *columns = size.ws_col;
    *rows = size.ws_row;
    return 0;
}

int pty_set_window_size(int fd, int columns, int rows) {
    if (columns < 0 || columns > 0xffff || rows < 0 || rows > 0xffff)
        return -EINVAL;
    struct winsize size = { .ws_col = (unsigned short)columns, .ws_row = (unsigned short)rows };
    return ioctl(fd, TIOCSWINSZ, &size) < 0 ? -errno : 0;
}
