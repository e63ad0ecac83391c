/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "oom.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* "<eventfd> <descriptor of memory.oom_control>" in cgroup.event_control; the kernel then needs only the eventfd. */
static int register_event(int folder, int event, const char *directory, struct failure *failure) {
    int control = openat(folder, "memory.oom_control", O_RDONLY | O_CLOEXEC);
    if (control < 0)
        return fail(failure, errno, "open memory.oom_control", directory);
    int registry = openat(folder, "cgroup.event_control", O_WRONLY | O_CLOEXEC);
    int error = errno;
    char line[32];
    int length = snprintf(line, sizeof line, "%d %d", event, control);
    ssize_t written = registry < 0 ? -1 : write(registry, line, (size_t)length);
    if (registry >= 0) {
        error = errno;
        close(registry);
    }
    close(control);
    return written < 0 ? fail(failure, error, "cgroup.event_control", directory) : 0;
}

int oom_eventfd(const char *directory, struct failure *failure) {
    int folder = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0)
        return fail(failure, errno, "open", directory);
    int event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int result = event < 0 ? fail(failure, errno, "eventfd", NULL) : register_event(folder, event, directory, failure);
    close(folder);
    if (result < 0 && event >= 0)
        close(event);
    return result < 0 ? -1 : event;
}
