/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_MOUNT_H
#define BERTH_MOUNT_H

#include <stddef.h>

#include "failure.h"

/*
 * Mounts as fstab's options say: what is a mount flag becomes one, the rest is the file system's data. A bind with flags
 * ("ro", "nosuid", …) and a change of propagation take further calls. Overlay's lower directories may take more than a page.
 */
int mount_filesystem(const char *source, const char *target, const char *type, const char *const *options, size_t count,
                     struct failure *);

#endif
