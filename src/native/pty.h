/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_PTY_H
#define BERTH_PTY_H

/* 0 or -errno. */
int pty_window_size(int fd, int *columns, int *rows);
int pty_set_window_size(int fd, int columns, int rows);

#endif
