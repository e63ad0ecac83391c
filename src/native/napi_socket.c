/* SPDX-License-Identifier: Apache-2.0 */
/* Unix sockets. */
#include <errno.h>

#include "napi_addon.h"
#include "napi_call.h"
#include "socket.h"

static napi_value js_listen_unix(napi_env env, napi_callback_info info) {
    struct call call;
    call_begin(&call, env, info);
    const char *path = call_string(&call, call.arguments[0], "path");
    int backlog = call_integer(&call, call.arguments[1], "backlog");
    int mode = call_integer(&call, call.arguments[2], "mode");
    int fd = call.failed ? -1 : socket_listen(path, backlog, (mode_t)mode);
    if (fd < 0)
        call_fail_errno(&call, -fd, "bind", path);
    return call_end(&call, call_new_integer(&call, fd));
}

static napi_value js_connect_unix(napi_env env, napi_callback_info info) {
    struct call call;
    call_begin(&call, env, info);
    const char *path = call_string(&call, call.arguments[0], "path");
    int fd = call.failed ? -1 : socket_connect(path);
    if (fd < 0)
        call_fail_errno(&call, -fd, "connect", path);
    return call_end(&call, call_new_integer(&call, fd));
}

static napi_value js_socket_pair(napi_env env, napi_callback_info info) {
    struct call call;
    int ends[2];
    call_begin(&call, env, info);
    int error = socket_pair(ends);
    if (error)
        call_fail_errno(&call, -error, "socketpair", NULL);
    return call_end(&call, call_new_integers(&call, ends, 2));
}

/* A descriptor, -1 for "not now", or the error. */
static napi_value descriptor_result(struct call *call, int result, const char *syscall) {
    if (result == -EAGAIN || result == -EWOULDBLOCK)
        result = -1;
    else if (result < 0)
        call_fail_errno(call, -result, syscall, NULL);
    return call_end(call, call_new_integer(call, result));
}

static napi_value js_accept(napi_env env, napi_callback_info info) {
    struct call call;
    call_begin(&call, env, info);
    int fd = call_integer(&call, call.arguments[0], "fd");
    return descriptor_result(&call, call.failed ? 0 : socket_accept(fd), "accept4");
}

static napi_value js_receive_descriptor(napi_env env, napi_callback_info info) {
    struct call call;
    call_begin(&call, env, info);
    int fd = call_integer(&call, call.arguments[0], "fd");
    return descriptor_result(&call, call.failed ? 0 : socket_receive_descriptor(fd), "recvmsg");
}

static napi_value js_peer_credentials(napi_env env, napi_callback_info info) {
    struct call call;
    pid_t pid = 0;
    uid_t uid = 0;
    gid_t gid = 0;
    call_begin(&call, env, info);
    int fd = call_integer(&call, call.arguments[0], "fd");
    int error = call.failed ? 0 : socket_peer(fd, &pid, &uid, &gid);
    if (error)
        call_fail_errno(&call, -error, "getsockopt", NULL);
    napi_value peer = call_new_object(&call);
    call_set(&call, peer, "pid", call_new_integer(&call, pid));
    call_set(&call, peer, "uid", call_new_integer(&call, uid));
    call_set(&call, peer, "gid", call_new_integer(&call, gid));
    return call_end(&call, peer);
}

static napi_value js_send_datagram(napi_env env, napi_callback_info info) {
    struct call call;
    call_begin(&call, env, info);
    const char *path = call_string(&call, call.arguments[0], "path");
    const char *text = call_string(&call, call.arguments[1], "text");
    int error = call.failed ? 0 : socket_send_datagram(path, text);
    if (error)
        call_fail_errno(&call, -error, "sendto", path);
    return call_end(&call, NULL);
}

const struct function socket_functions[] = {
    { "listenUnix", js_listen_unix },
    { "connectUnix", js_connect_unix },
    { "socketPair", js_socket_pair },
    { "accept", js_accept },
    { "receiveDescriptor", js_receive_descriptor },
    { "peerCredentials", js_peer_credentials },
    { "sendDatagram", js_send_datagram },
    { NULL, NULL },
};
