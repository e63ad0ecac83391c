/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "layers.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "mount.h"

/* An attempt takes microseconds, or, at the most links that an image can make of a path, some milliseconds. */
#define MOST_MILLISECONDS 250

struct search {
    const char *const *layers;
    size_t layer_count;
    const char *const *paths;
    size_t path_count;
    int *fds;
    struct failure *failure;
    int result;
};

/* What a layer has where it takes a file of a lower one away. */
static bool is_whiteout(int fd) {
    struct stat info;
    return fstat(fd, &info) == 0 && S_ISCHR(info.st_mode) && info.st_rdev == makedev(0, 0);
}

static int64_t now_milliseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Whatever is renamed or mounted on the machine meanwhile makes the kernel give up at a ".." (EAGAIN). */
static int open_in_root(int root, const char *path) {
    struct open_how how = { .flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS };
    int64_t until = now_milliseconds() + MOST_MILLISECONDS;
    for (;;) {
        int fd = (int)syscall(SYS_openat2, root, path, &how, sizeof how);
        int error = errno;
        if (fd >= 0 || (error != EAGAIN && error != EINTR) || now_milliseconds() > until) {
            errno = error;
            return fd;
        }
    }
}

static int find_in(int root, const struct search *search) {
    for (size_t i = 0; i < search->path_count; i++) {
        int fd = open_in_root(root, search->paths[i]);
        if (fd < 0 && errno != ENOENT && errno != ENOTDIR)
            return fail(search->failure, errno, "openat2", search->paths[i]);
        if (fd >= 0 && is_whiteout(fd)) {
            close(fd);
            fd = -1;
        }
        search->fds[i] = fd;
    }
    return 0;
}

static int find_below(const char *folder, const struct search *search) {
    int root = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root < 0)
        return fail(search->failure, errno, "open", folder);
    int result = find_in(root, search);
    close(root);
    return result;
}

static char *lower_directories(const struct search *search) {
    static const char name[] = "lowerdir=";
    size_t room = sizeof name;
    for (size_t i = 0; i < search->layer_count; i++)
        room += strlen(search->layers[i]) + 1;
    char *list = malloc(room);
    if (!list)
        return NULL;
    char *end = stpcpy(list, name);
    for (size_t i = 0; i < search->layer_count; i++)
        end = stpcpy(stpcpy(end, i ? ":" : ""), search->layers[i]);
    return list;
}

/* The overlay covers the topmost layer's folder: a place that is there, and that only this thread sees covered. */
static int find_merged(const struct search *search) {
    const char *place = search->layers[0];
    if (unshare(CLONE_FS | CLONE_NEWNS) < 0)
        return fail(search->failure, errno, "unshare", NULL);
    if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return fail(search->failure, errno, "mount", "/");
    char *lower = lower_directories(search);
    if (!lower)
        return fail(search->failure, ENOMEM, "malloc", NULL);
    const char *const options[] = { "ro", "nodev", "nosuid", "noexec", lower };
    size_t count = sizeof options / sizeof *options;
    int result = mount_filesystem("overlay", place, "overlay", options, count, search->failure);
    free(lower);
    return result < 0 ? -1 : find_below(place, search);
}

static void *find_main(void *argument) {
    struct search *search = argument;
    search->result = find_merged(search);
    return NULL;
}

int layers_find(const char *const *layers, size_t layer_count, const char *const *paths, size_t path_count, int *fds,
                struct failure *failure) {
    struct search search = { .layers = layers,
                             .layer_count = layer_count,
                             .paths = paths,
                             .path_count = path_count,
                             .fds = fds,
                             .failure = failure };
    for (size_t i = 0; i < path_count; i++)
        fds[i] = -1;
    if (layer_count == 1) {
        search.result = find_below(layers[0], &search);
    } else if (layer_count > 1) {
        pthread_t thread;
        int error = pthread_create(&thread, NULL, find_main, &search);
        if (error)
            search.result = fail(failure, error, "pthread_create", NULL);
        else
            pthread_join(thread, NULL);
    }
    for (size_t i = 0; search.result < 0 && i < path_count; i++) {
        if (fds[i] >= 0)
            close(fds[i]);
    }
    return search.result;
}
