/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "loopdev.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define CONTROL "/dev/loop-control"
/* Another process may take the free device before us. */
#define ATTEMPTS 50
#define PAUSE_NANOSECONDS 200000

static int free_device(struct failure *failure) {
    int control = open(CONTROL, O_RDWR | O_CLOEXEC);
    if (control < 0)
        return fail(failure, errno, "open", CONTROL);
    int number = ioctl(control, LOOP_CTL_GET_FREE);
    int error = errno;
    close(control);
    return number < 0 ? fail(failure, error, "LOOP_CTL_GET_FREE", CONTROL) : number;
}

static int configure(int device, int backing, const char *file, bool read_only) {
    struct loop_config config;
    memset(&config, 0, sizeof config);
    config.fd = (unsigned)backing;
    config.info.lo_flags = LO_FLAGS_AUTOCLEAR | (read_only ? LO_FLAGS_READ_ONLY : 0);
    strncpy((char *)config.info.lo_file_name, file, LO_NAME_SIZE - 1);
    return ioctl(device, LOOP_CONFIGURE, &config);
}

/* One attempt: the device's descriptor, -1, or -2 when somebody was faster. */
static int attach_once(int backing, const char *file, bool read_only, char *path, size_t room, struct failure *failure) {
    int number = free_device(failure);
    if (number < 0)
        return -1;
    snprintf(path, room, "/dev/loop%d", number);
    int device = open(path, (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC);
    if (device < 0)
        return fail(failure, errno, "open", CONTROL);
    if (configure(device, backing, file, read_only) == 0)
        return device;
    int error = errno;
    close(device);
    fail(failure, error, "LOOP_CONFIGURE", file);
    return error == EBUSY ? -2 : -1;
}

int loop_device_attach(const char *file, bool read_only, char *device, size_t room, struct failure *failure) {
    int backing = open(file, (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC);
    if (backing < 0)
        return fail(failure, errno, "open", file);
    int fd = -2;
    for (int attempt = 0; fd == -2 && attempt < ATTEMPTS; attempt++) {
        if (attempt > 0)
            nanosleep(&(struct timespec){ .tv_nsec = attempt * PAUSE_NANOSECONDS }, NULL);
        fd = attach_once(backing, file, read_only, device, room, failure);
    }
    close(backing);
    return fd < 0 ? -1 : fd;
}
