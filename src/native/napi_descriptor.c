/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors of every kind: making, keeping, reading, writing; terminals. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <unistd.h>

#include "descriptor.h"
#include "napi_addon.h"
#include "napi_call.h"
#include "pty.h"

static napi_value js_pipe(napi_env env, napi_callback_info info) {
    struct call call;
    int ends[2];
    call_begin(&call, env, info);
    if (pipe2(ends, O_CLOEXEC) < 0)
        call_fail_errno(&call, errno, "pipe2", NULL);
    return call_end(&call, call_new_integers(&call, ends, 2));
}

static napi_value js_close(napi_env env, napi_callback_info info) {
    struct call call;
    call_begin(&call, env, info);
    int fd = call_integer(&call, call.arguments[0], "fd");
    if (!call.failed && close(fd) < 0)
        call_fail_errno(&call, errno, "close", NULL);
    return call_end(&call, NULL);
}

static napi_value js_duplicate(napi_env env, napi_callback_info info) {
    struct call call;
    call_begin(&call, env, info);
    int fd = call_integer(&call, call.arguments[0], "fd");
    int copy = call.failed ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (copy < 0)
        call_fail_errno(&call, errno, "fcntl", NULL);
    return call_end(&call, call_new_integer(&call, copy));
}

static napi_value js_duplicate_to(napi_env env, napi_callback_info info) {
    struct call call;
    call_begin(&call, env, info);
    int fd = call_integer(&call, call.arguments[0], "fd");
    int target = call_integer(&call, call.arguments[1], "target");
    if (!call.failed && dup2(fd, target) < 0)
        call_fail_errno(&call, errno, "dup2", NULL);
    return call_end(&call, NULL);
}

static napi_value js_try_lock(napi_env env, napi_callback_info info) {
    struct call call;
    napi_value result = NULL;
    call_begin(&call, env, info);
    int fd = call_integer(&call, call.arguments[0], "fd");
    bool locked = !call.failed && flock(fd, LOCK_EX | LOCK_NB) == 0;
    if (!locked && !call.failed && errno != EWOULDBLOCK)
        call_fail_errno(&call, errno, "flock", NULL);
    call_ok(&call, napi_get_boolean(env, locked, &result));
    return call_end(&call, result);
}

static napi_value js_set_close_on_exec(napi_env env, napi_callback_info info) {
    struct call call;
    napi_value result = NULL;
    call_begin(&call, env, info);
    int fd = call_integer(&call, call.arguments[0], "fd");
    bool on = call_boolean(&call, call.arguments[1], "on");
    bool done = !call.failed && fcntl(fd, F_SETFD, on ? FD_CLOEXEC : 0) == 0;
    call_ok(&call, napi_get_boolean(env, done, &result));
    return call_end(&call, result);
}

static napi_value js_memfd(napi_env env, napi_callback_info info) {
    struct call call;
    call_begin(&call, env, info);
    const char *name = call_string(&call, call.arguments[0], "name");
    int fd = call.failed ? -1 : memfd_create(name, MFD_CLOEXEC);
    if (fd < 0)
        call_fail_errno(&call, errno, "memfd_create", name);
    return call_end(&call, call_new_integer(&call, fd));
}

static void *bytes_of(struct call *call, napi_value value, size_t *length) {
    napi_typedarray_type type;
    void *bytes = NULL;
    bool is_typed_array = false;
    *length = 0;
    if (call->failed)
        return NULL;
    if (!value || napi_is_typedarray(call->env, value, &is_typed_array) != napi_ok || !is_typed_array ||
        napi_get_typedarray_info(call->env, value, &type, length, &bytes, NULL, NULL) != napi_ok ||
        type != napi_uint8_array)
        call_refuse(call, "the bytes must be a Uint8Array");
    return bytes;
}

static napi_value transfer_result(struct call *call, ssize_t result, const char *syscall) {
    if (result == -EAGAIN || result == -EWOULDBLOCK)
        result = -1;
    else if (result < 0)
        call_fail_errno(call, (int)-result, syscall, NULL);
    return call_end(call, call_new_integer(call, result));
}

static napi_value js_read(napi_env env, napi_callback_info info) {
    struct call call;
    size_t length;
    call_begin(&call, env, info);
    int fd = call_integer(&call, call.arguments[0], "fd");
    void *into = bytes_of(&call, call.arguments[1], &length);
    return transfer_result(&call, call.failed ? 0 : descriptor_read(fd, into, length), "read");
}

static napi_value js_write(napi_env env, napi_callback_info info) {
    struct call call;
    size_t length;
    call_begin(&call, env, info);
    int fd = call_integer(&call, call.arguments[0], "fd");
    const void *from = bytes_of(&call, call.arguments[1], &length);
    return transfer_result(&call, call.failed ? 0 : descriptor_write(fd, from, length), "write");
}

static napi_value js_window_size(napi_env env, napi_callback_info info) {
    struct call call;
    int columns = 0, rows = 0;
    call_begin(&call, env, info);
    int fd = call_integer(&call, call.arguments[0], "fd");
    int error = call.failed ? 0 : pty_window_size(fd, &columns, &rows);
    if (error)
        call_fail_errno(&call, -error, "TIOCGWINSZ", NULL);
    napi_value size = call_new_object(&call);
    call_set(&call, size, "columns", call_new_integer(&call, columns));
    call_set(&call, size, "rows", call_new_integer(&call, rows));
    return call_end(&call, size);
}

static napi_value js_set_window_size(napi_env env, napi_callback_info info) {
    struct call call;
    call_begin(&call, env, info);
    int fd = call_integer(&call, call.arguments[0], "fd");
    int columns = call_integer(&call, call.arguments[1], "columns");
    int rows = call_integer(&call, call.arguments[2], "rows");
    int error = call.failed ? 0 : pty_set_window_size(fd, columns, rows);
    if (error)
        call_fail_errno(&call, -error, "TIOCSWINSZ", NULL);
    return call_end(&call, NULL);
}

const struct function descriptor_functions[] = {
    { "pipe", js_pipe },
    { "close", js_close },
    { "duplicate", js_duplicate },
    { "duplicateTo", js_duplicate_to },
    { "tryLock", js_try_lock },
    { "setCloseOnExec", js_set_close_on_exec },
    { "memfd", js_memfd },
    { "read", js_read },
    { "write", js_write },
    { "windowSize", js_window_size },
    { "setWindowSize", js_set_window_size },
    { NULL, NULL },
};
