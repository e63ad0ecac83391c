/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "mount.h"

#include <errno.h>
#include <linux/mount.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LOWERDIR "lowerdir="

struct option {
    const char *name;
    unsigned long set;
    unsigned long clear;
};

static const struct option flag_options[] = {
    { "async", 0, MS_SYNCHRONOUS },
    { "atime", 0, MS_NOATIME },
    { "bind", MS_BIND, 0 },
    { "defaults", 0, 0 },
    { "dev", 0, MS_NODEV },
    { "diratime", 0, MS_NODIRATIME },
    { "dirsync", MS_DIRSYNC, 0 },
    { "exec", 0, MS_NOEXEC },
    { "iversion", MS_I_VERSION, 0 },
    { "lazytime", MS_LAZYTIME, 0 },
    { "loud", 0, MS_SILENT },
    { "mand", MS_MANDLOCK, 0 },
    { "noatime", MS_NOATIME, 0 },
    { "nodev", MS_NODEV, 0 },
    { "nodiratime", MS_NODIRATIME, 0 },
    { "noexec", MS_NOEXEC, 0 },
    { "noiversion", 0, MS_I_VERSION },
    { "nolazytime", 0, MS_LAZYTIME },
    { "nomand", 0, MS_MANDLOCK },
    { "norelatime", 0, MS_RELATIME },
    { "nostrictatime", 0, MS_STRICTATIME },
    { "nosuid", MS_NOSUID, 0 },
    { "nosymfollow", MS_NOSYMFOLLOW, 0 },
    { "rbind", MS_BIND | MS_REC, 0 },
    { "relatime", MS_RELATIME, 0 },
    { "remount", MS_REMOUNT, 0 },
    { "ro", MS_RDONLY, 0 },
    { "rw", 0, MS_RDONLY },
    { "silent", MS_SILENT, 0 },
    { "strictatime", MS_STRICTATIME, 0 },
    { "suid", 0, MS_NOSUID },
    { "symfollow", 0, MS_NOSYMFOLLOW },
    { "sync", MS_SYNCHRONOUS, 0 },
};

static const struct option propagation_options[] = {
    { "private", MS_PRIVATE, 0 },
    { "rprivate", MS_PRIVATE | MS_REC, 0 },
    { "rshared", MS_SHARED | MS_REC, 0 },
    { "rslave", MS_SLAVE | MS_REC, 0 },
    { "runbindable", MS_UNBINDABLE | MS_REC, 0 },
    { "shared", MS_SHARED, 0 },
    { "slave", MS_SLAVE, 0 },
    { "unbindable", MS_UNBINDABLE, 0 },
};

/* Flags of one mount and not of its file system: the first call of a bind ignores them. */
#define PER_MOUNT_FLAGS                                                                                                \
    (MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME | MS_NODIRATIME | MS_RELATIME | MS_STRICTATIME |        \
     MS_NOSYMFOLLOW)

struct plan {
    const char *source;
    const char *target;
    const char *type;
    unsigned long flags;
    unsigned long propagation;
    char *data;            /* options that are not flags, joined with commas */
    const char *directory; /* NULL, or where data's relative paths start */
};

static const struct option *find_option(const struct option *table, size_t count, const char *name) {
    for (size_t i = 0; i < count; i++) {
        if (strcmp(table[i].name, name) == 0)
            return &table[i];
    }
    return NULL;
}

#define FIND(table, name) find_option(table, sizeof(table) / sizeof *(table), name)

static int read_options(struct plan *plan, const char *const *options, size_t count) {
    size_t room = 1;
    for (size_t i = 0; i < count; i++)
        room += strlen(options[i]) + 1;
    plan->data = malloc(room);
    if (!plan->data)
        return -1;
    char *end = plan->data;
    *end = '\0';
    for (size_t i = 0; i < count; i++) {
        const struct option *flag = FIND(flag_options, options[i]);
        const struct option *propagation = FIND(propagation_options, options[i]);
        if (flag)
            plan->flags = (plan->flags & ~flag->clear) | flag->set;
        else if (propagation)
            plan->propagation = propagation->set;
        else if (*options[i])
            end += sprintf(end, end == plan->data ? "%s" : ",%s", options[i]);
    }
    return 0;
}

/* The next ':' that no backslash hides, or the end. */
static char *directory_end(char *from) {
    while (*from && *from != ':' && *from != ',')
        from += *from == '\\' && from[1] ? 2 : 1;
    return from;
}

/* Length of the longest prefix of all directories that ends with '/'; 0: none. */
static size_t common_prefix(char *list) {
    size_t common = 0;
    for (char *at = list; *at && *at != ',' && *at != ':'; at++) {
        if (*at == '\\')
            break; /* a path whose escapes would have to be undone for chdir */
        if (*at == '/' && at[1] && at[1] != ':' && at[1] != ',')
            common = (size_t)(at - list) + 1;
    }
    for (char *at = directory_end(list); *at == ':'; at = directory_end(at + 1)) {
        size_t same = 0, length = (size_t)(directory_end(at + 1) - (at + 1));
        while (same < common && same < length && list[same] == at[1 + same])
            same++;
        while (same > 0 && list[same - 1] != '/')
            same--;
        common = same;
        if (common == length)
            return 0; /* one directory is an ancestor of the others: it would have no name */
    }
    return common;
}

/*
 * Takes the directory that all lower directories have in common out of their paths. Returns it, to be freed, or NULL when
 * there is none.
 */
static char *shorten_lower_directories(char *data) {
    char *list = data;
    while (list && strncmp(list, LOWERDIR, strlen(LOWERDIR)) != 0) {
        list = strchr(list, ',');
        list = list ? list + 1 : NULL;
    }
    if (!list)
        return NULL;
    list += strlen(LOWERDIR);
    size_t common = common_prefix(list);
    if (common == 0)
        return NULL;
    char *directory = strndup(list, common);
    for (char *at = list; directory; at++) {
        memmove(at, at + common, strlen(at + common) + 1);
        at = directory_end(at);
        if (*at != ':')
            break;
    }
    return directory;
}

/* mount(2) reads a page of data; errno E2BIG says what else would be cut off in silence. */
static int mount_data(const struct plan *plan, unsigned long flags) {
    if (strlen(plan->data) >= (size_t)sysconf(_SC_PAGESIZE)) {
        errno = E2BIG;
        return -1;
    }
    return (int)syscall(SYS_mount, plan->source, plan->target, plan->type, flags, plan->data);
}

struct elsewhere {
    const struct plan *plan;
    int error;
};

static void *mount_from_directory(void *argument) {
    struct elsewhere *elsewhere = argument;
    if (unshare(CLONE_FS) < 0 || chdir(elsewhere->plan->directory) < 0 ||
        mount_data(elsewhere->plan, elsewhere->plan->flags) < 0)
        elsewhere->error = errno;
    return NULL;
}

/* The working directory is the process's: so a thread takes one of its own. */
static int mount_in_thread(const struct plan *plan) {
    struct elsewhere elsewhere = { .plan = plan };
    pthread_t thread;
    int error = pthread_create(&thread, NULL, mount_from_directory, &elsewhere);
    if (error == 0) {
        pthread_join(thread, NULL);
        error = elsewhere.error;
    }
    errno = error;
    return error ? -1 : 0;
}

static unsigned long flags_in_force(const char *path) {
    static const struct {
        long in_statfs;
        unsigned long flag;
    } pairs[] = {
        { 0x0001, MS_RDONLY }, { 0x0002, MS_NOSUID },  { 0x0004, MS_NODEV },      { 0x0008, MS_NOEXEC },
        { 0x0400, MS_NOATIME }, { 0x0800, MS_NODIRATIME }, { 0x1000, MS_RELATIME },
    };
    struct statfs info;
    unsigned long flags = 0;
    if (statfs(path, &info) < 0)
        return 0;
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        if ((info.f_flags & pairs[i].in_statfs) != 0)
            flags |= pairs[i].flag;
    }
    return flags;
}

/* In a user namespace a bind must keep the flags that are locked on its source. */
static int apply_bind_flags(const struct plan *plan) {
    unsigned long flags = MS_REMOUNT | MS_BIND | (plan->flags & PER_MOUNT_FLAGS);
    if (syscall(SYS_mount, "none", plan->target, NULL, flags, NULL) == 0)
        return 0;
    if (errno != EPERM)
        return -1;
    return (int)syscall(SYS_mount, "none", plan->target, NULL, flags | flags_in_force(plan->target), NULL);
}

static int carry_out(const struct plan *plan) {
    bool bind = (plan->flags & MS_BIND) != 0, remount = (plan->flags & MS_REMOUNT) != 0;
    bool no_type = !*plan->type || strcmp(plan->type, "none") == 0;
    bool only_propagation = plan->propagation && plan->flags == 0 && !*plan->data && no_type;
    if (!only_propagation && !(bind && remount)) {
        int result = plan->directory ? mount_in_thread(plan) : mount_data(plan, plan->flags);
        if (result < 0)
            return -1;
    }
    if (bind && (remount || (plan->flags & PER_MOUNT_FLAGS)) && apply_bind_flags(plan) < 0)
        return -1;
    if (plan->propagation)
        return (int)syscall(SYS_mount, "none", plan->target, NULL, plan->propagation, NULL);
    return 0;
}

int mount_filesystem(const char *source, const char *target, const char *type, const char *const *options, size_t count,
                     struct failure *failure) {
    struct plan plan = { .source = source, .target = target, .type = type };
    if (read_options(&plan, options, count) < 0)
        return fail(failure, ENOMEM, "mount", target);
    char *directory = NULL;
    if (strcmp(type, "overlay") == 0 && target[0] == '/' && strlen(plan.data) >= (size_t)sysconf(_SC_PAGESIZE))
        plan.directory = directory = shorten_lower_directories(plan.data);
    int result = carry_out(&plan);
    int error = errno;
    free(directory);
    free(plan.data);
    return result < 0 ? fail(failure, error, "mount", target) : 0;
}
