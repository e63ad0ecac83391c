/* SPDX-License-Identifier: Apache-2.0 */
/* What an unpacker of layers needs and Node lacks: special files, extended attributes, another root, an end with its parent. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "napi_addon.h"
#include "napi_call.h"

/* A view of bytes; NULL fails the call. */
static void *bytes_of(struct call *call, napi_value value, const char *what, size_t *length) {
    bool is_buffer = false;
    void *bytes = NULL;
    *length = 0;
    if (call->failed)
        return NULL;
    if (!value || napi_is_buffer(call->env, value, &is_buffer) != napi_ok || !is_buffer)
        call_refuse(call, what);
    else
        call_ok(call, napi_get_buffer_info(call->env, value, &bytes, length));
    return bytes;
}

/* A path is a string or, since file names are bytes, a buffer. */
static const char *call_path(struct call *call, napi_value value) {
    bool is_buffer = false;
    size_t length;
    if (call->failed)
        return NULL;
    if (!value || napi_is_buffer(call->env, value, &is_buffer) != napi_ok || !is_buffer)
        return call_string(call, value, "path");
    const void *bytes = bytes_of(call, value, "path must be bytes", &length);
    char *path = call_allocate(call, length + 1);
    if (!path)
        return NULL;
    if (length > 0)
        memcpy(path, bytes, length);
    if (strlen(path) != length)
        call_refuse(call, "path must be without null bytes");
    return path;
}

/* The mode, which includes the type, is exact, whatever the umask. */
static napi_value js_mknod(napi_env env, napi_callback_info info) {
    struct call call;
    call_begin(&call, env, info);
    const char *path = call_path(&call, call.arguments[0]);
    mode_t mode = call_id(&call, call.arguments[1], "mode");
    uint32_t major = call_id(&call, call.arguments[2], "major");
    uint32_t minor = call_id(&call, call.arguments[3], "minor");
    if (!call.failed && (mknod(path, mode, makedev(major, minor)) < 0 || chmod(path, mode & 07777) < 0))
        call_fail_errno(&call, errno, "mknod", path);
    return call_end(&call, NULL);
}

static napi_value js_set_xattr(napi_env env, napi_callback_info info) {
    struct call call;
    size_t length;
    call_begin(&call, env, info);
    const char *path = call_path(&call, call.arguments[0]);
    const char *name = call_string(&call, call.arguments[1], "name");
    const void *value = bytes_of(&call, call.arguments[2], "value must be bytes", &length);
    if (!call.failed && lsetxattr(path, name, length > 0 ? value : "", length, 0) < 0)
        call_fail_errno(&call, errno, "lsetxattr", path);
    return call_end(&call, NULL);
}

/* Extended attributes have at most 64 KiB, and so has the list of their names (xattr(7)). */
#define MOST_XATTR_BYTES 65536

static napi_value js_get_xattr(napi_env env, napi_callback_info info) {
    struct call call;
    napi_value result = NULL;
    call_begin(&call, env, info);
    const char *path = call_path(&call, call.arguments[0]);
    const char *name = call_string(&call, call.arguments[1], "name");
    char *value = call_allocate(&call, MOST_XATTR_BYTES);
    ssize_t length = value && !call.failed ? lgetxattr(path, name, value, MOST_XATTR_BYTES) : 0;
    if (call.failed || (length < 0 && (errno == ENODATA || errno == ENOTSUP)))
        return call_end(&call, NULL);
    if (length < 0)
        call_fail_errno(&call, errno, "lgetxattr", path);
    else
        call_ok(&call, napi_create_buffer_copy(env, (size_t)length, value, NULL, &result));
    return call_end(&call, result);
}

static napi_value js_list_xattrs(napi_env env, napi_callback_info info) {
    struct call call;
    napi_value result = NULL;
    call_begin(&call, env, info);
    const char *path = call_path(&call, call.arguments[0]);
    char *names = call_allocate(&call, MOST_XATTR_BYTES + 1);
    ssize_t length = names && !call.failed ? llistxattr(path, names, MOST_XATTR_BYTES) : 0;
    if (length < 0 && errno == ENOTSUP)
        length = 0;
    if (length < 0)
        call_fail_errno(&call, errno, "llistxattr", path);
    if (!call.failed)
        call_ok(&call, napi_create_array(env, &result));
    uint32_t index = 0;
    for (const char *name = names; !call.failed && name < names + length; name += strlen(name) + 1) {
        napi_value text = call_new_string(&call, name);
        if (text)
            call_ok(&call, napi_set_element(env, result, index++, text));
    }
    return call_end(&call, result);
}

static napi_value js_change_root(napi_env env, napi_callback_info info) {
    struct call call;
    call_begin(&call, env, info);
    int fd = call_integer(&call, call.arguments[0], "fd");
    if (!call.failed && (fchdir(fd) < 0 || chroot(".") < 0))
        call_fail_errno(&call, errno, "chroot", NULL);
    return call_end(&call, NULL);
}

static napi_value js_die_with_parent(napi_env env, napi_callback_info info) {
    struct call call;
    call_begin(&call, env, info);
    int parent = call_integer(&call, call.arguments[0], "parent");
    if (!call.failed && prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
        call_fail_errno(&call, errno, "prctl", NULL);
    /* It may have died before. */
    if (!call.failed && getppid() != parent)
        call_fail_errno(&call, ESRCH, "getppid", NULL);
    return call_end(&call, NULL);
}

const struct function file_functions[] = {
    { "mknod", js_mknod },
    { "setXattr", js_set_xattr },
    { "getXattr", js_get_xattr },
    { "listXattrs", js_list_xattrs },
    { "changeRoot", js_change_root },
    { "dieWithParent", js_die_with_parent },
    { NULL, NULL },
};
