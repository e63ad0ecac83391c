/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_LOOPDEV_H
#define BERTH_LOOPDEV_H

#include <stdbool.h>
#include <stddef.h>

#include "failure.h"

/*
 * Attaches a file to a free loop device, which the kernel frees when its last user is gone. Writes the device's path and
 * returns a descriptor that keeps the device until it is mounted; or -1.
 */
int loop_device_attach(const char *file, bool read_only, char *device, size_t room, struct failure *);

#endif
