/* SPDX-License-Identifier: Apache-2.0 */
/* What is done to the file system: mounts, loop devices, FIFOs, namespaces, layers; and cgroup v1's OOM events. */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "layers.h"
#include "loopdev.h"
#include "mount.h"
#include "namespace.h"
#include "napi_addon.h"
#include "napi_call.h"
#include "oom.h"

static napi_value js_mount(napi_env env, napi_callback_info info) {
    struct call call;
    size_t count;
    struct failure failure;
    call_begin(&call, env, info);
    const char *source = call_string(&call, call.arguments[0], "source");
    const char *target = call_string(&call, call.arguments[1], "target");
    const char *type = call_string(&call, call.arguments[2], "type");
    const char **options = call_strings(&call, call.arguments[3], "options", &count);
    if (!call.failed && mount_filesystem(source, target, type, options, count, &failure) < 0)
        call_fail(&call, &failure);
    return call_end(&call, NULL);
}

static napi_value js_umount(napi_env env, napi_callback_info info) {
    struct call call;
    call_begin(&call, env, info);
    const char *target = call_string(&call, call.arguments[0], "target");
    int flags = call_integer(&call, call.arguments[1], "flags");
    if (!call.failed && umount2(target, flags) < 0)
        call_fail_errno(&call, errno, "umount2", target);
    return call_end(&call, NULL);
}

static napi_value js_attach_loop_device(napi_env env, napi_callback_info info) {
    struct call call;
    char device[32] = "";
    struct failure failure;
    call_begin(&call, env, info);
    const char *file = call_string(&call, call.arguments[0], "file");
    bool read_only = call_boolean(&call, call.arguments[1], "readOnly");
    int fd = call.failed ? -1 : loop_device_attach(file, read_only, device, sizeof device, &failure);
    if (fd < 0 && !call.failed)
        call_fail(&call, &failure);
    napi_value attached = call_new_object(&call);
    call_set(&call, attached, "device", call_new_string(&call, device));
    call_set(&call, attached, "fd", call_new_integer(&call, fd));
    return call_end(&call, attached);
}

/* The mode is exact, whatever the umask. */
static napi_value js_mkfifo(napi_env env, napi_callback_info info) {
    struct call call;
    call_begin(&call, env, info);
    const char *path = call_string(&call, call.arguments[0], "path");
    int mode = call_integer(&call, call.arguments[1], "mode");
    if (!call.failed && (mkfifo(path, (mode_t)mode) < 0 || chmod(path, (mode_t)mode) < 0))
        call_fail_errno(&call, errno, "mkfifo", path);
    return call_end(&call, NULL);
}

static napi_value js_pin_new_namespace(napi_env env, napi_callback_info info) {
    struct call call;
    struct failure failure;
    call_begin(&call, env, info);
    const char *kind = call_string(&call, call.arguments[0], "kind");
    const char *path = call_string(&call, call.arguments[1], "path");
    if (!call.failed && namespace_pin(kind, path, &failure) < 0)
        call_fail(&call, &failure);
    return call_end(&call, NULL);
}

static napi_value js_oom_eventfd(napi_env env, napi_callback_info info) {
    struct call call;
    struct failure failure;
    call_begin(&call, env, info);
    const char *directory = call_string(&call, call.arguments[0], "cgroupDirectory");
    int fd = call.failed ? -1 : oom_eventfd(directory, &failure);
    if (fd < 0 && !call.failed)
        call_fail(&call, &failure);
    return call_end(&call, call_new_integer(&call, fd));
}

static napi_value js_open_in_layers(napi_env env, napi_callback_info info) {
    struct call call;
    struct failure failure;
    size_t layer_count, path_count = 0;
    call_begin(&call, env, info);
    const char **layers = call_strings(&call, call.arguments[0], "layers", &layer_count);
    const char **paths = call_strings(&call, call.arguments[1], "paths", &path_count);
    int *fds = call_allocate(&call, (path_count + 1) * sizeof *fds);
    if (!call.failed && layers_find(layers, layer_count, paths, path_count, fds, &failure) < 0)
        call_fail(&call, &failure);
    return call_end(&call, call_new_integers(&call, fds, path_count));
}

const struct function mount_functions[] = {
    { "mount", js_mount },
    { "umount", js_umount },
    { "attachLoopDevice", js_attach_loop_device },
    { "mkfifo", js_mkfifo },
    { "pinNewNamespace", js_pin_new_namespace },
    { "oomEventfd", js_oom_eventfd },
    { "openInLayers", js_open_in_layers },
    { NULL, NULL },
};
