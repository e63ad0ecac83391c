/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "namespace.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <unistd.h>

struct kind {
    const char *name;
    int clone_flag;
    const char *link;
};

static const struct kind kinds[] = {
    { "net", CLONE_NEWNET, "/proc/thread-self/ns/net" },
    { "ipc", CLONE_NEWIPC, "/proc/thread-self/ns/ipc" },
    { "uts", CLONE_NEWUTS, "/proc/thread-self/ns/uts" },
};

struct pinning {
    const struct kind *kind;
    const char *path;
    struct failure *failure;
    int result;
};

static int bring_loopback_up(struct failure *failure) {
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return fail(failure, errno, "socket", NULL);
    struct ifreq request;
    memset(&request, 0, sizeof request);
    strcpy(request.ifr_name, "lo");
    int result = ioctl(fd, SIOCGIFFLAGS, &request);
    request.ifr_flags |= IFF_UP;
    if (result == 0)
        result = ioctl(fd, SIOCSIFFLAGS, &request);
    int error = errno;
    close(fd);
    return result < 0 ? fail(failure, error, "SIOCSIFFLAGS", NULL) : 0;
}

static int pin_in_this_thread(const struct pinning *pinning) {
    const struct kind *kind = pinning->kind;
    if (unshare(kind->clone_flag) < 0)
        return fail(pinning->failure, errno, "unshare", NULL);
    if (kind->clone_flag == CLONE_NEWNET && bring_loopback_up(pinning->failure) < 0)
        return -1;
    if (mount(kind->link, pinning->path, NULL, MS_BIND, NULL) < 0)
        return fail(pinning->failure, errno, "mount", pinning->path);
    return 0;
}

static void *pin_main(void *argument) {
    struct pinning *pinning = argument;
    pinning->result = pin_in_this_thread(pinning);
    return NULL;
}

int namespace_pin(const char *kind, const char *path, struct failure *failure) {
    struct pinning pinning = { .path = path, .failure = failure };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (strcmp(kinds[i].name, kind) == 0)
            pinning.kind = &kinds[i];
    }
    if (!pinning.kind)
        return fail(failure, EINVAL, "unshare", NULL);
    int file = open(path, O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444);
    if (file < 0)
        return fail(failure, errno, "open", path);
    close(file);
    pthread_t thread;
    int error = pthread_create(&thread, NULL, pin_main, &pinning);
    if (error)
        pinning.result = fail(failure, error, "pthread_create", NULL);
    else
        pthread_join(thread, NULL);
    if (pinning.result < 0)
        unlink(path);
    return pinning.result;
}
