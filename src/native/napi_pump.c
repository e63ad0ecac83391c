/* SPDX-License-Identifier: Apache-2.0 */
/* The Loop's methods that are pump.h's functions. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "napi_loop.h"

struct sink_name {
    const char *name;
    enum pump_sink sink;
};

static const struct sink_name sink_names[] = {
    { "null", PUMP_SINK_NULL }, { "fifo", PUMP_SINK_FIFO }, { "file", PUMP_SINK_FILE },
    { "cri", PUMP_SINK_CRI },   { "fd", PUMP_SINK_FD },
};

static void read_sink(struct call *call, napi_value sink, struct pump_output *output) {
    const char *kind = call_string(call, call_required(call, sink, "kind"), "sink.kind");
    bool known = false;
    for (size_t i = 0; kind && i < sizeof sink_names / sizeof *sink_names; i++) {
        if (strcmp(kind, sink_names[i].name) == 0) {
            output->sink = sink_names[i].sink;
            known = true;
        }
    }
    if (!known)
        call_refuse(call, "sink.kind must be null, fifo, file, cri or fd");
    if (output->sink == PUMP_SINK_FIFO || output->sink == PUMP_SINK_FILE || output->sink == PUMP_SINK_CRI)
        output->path = call_string(call, call_required(call, sink, "path"), "sink.path");
    if (output->sink == PUMP_SINK_FIFO) {
        output->spool_path = call_string(call, call_required(call, sink, "spoolPath"), "sink.spoolPath");
        output->spool_limit = call_size(call, call_required(call, sink, "spoolLimitBytes"), "sink.spoolLimitBytes");
    }
    if (output->sink == PUMP_SINK_CRI) {
        output->cri_stream = call_string(call, call_required(call, sink, "stream"), "sink.stream");
        output->log_max_bytes = call_size(call, call_required(call, sink, "maxBytes"), "sink.maxBytes");
    }
    if (output->sink == PUMP_SINK_FD)
        output->sink_fd = call_integer(call, call_required(call, sink, "fd"), "sink.fd");
}

static napi_value answer(struct call *call, int result, const char *function) {
    if (!call->failed && result < 0)
        call_fail_errno(call, -result, function, NULL);
    return call_end(call, NULL);
}

static napi_value js_add_output(napi_env env, napi_callback_info info) {
    struct call call;
    struct pump_output output = { .sink_fd = -1 };
    call_begin(&call, env, info);
    struct loop *loop = loop_of(&call);
    napi_value options = call.arguments[0];
    output.id = call_id(&call, call_required(&call, options, "id"), "id");
    output.source = call_integer(&call, call_required(&call, options, "source"), "source");
    output.source_is_pty = call_boolean(&call, call_required(&call, options, "sourceIsPty"), "sourceIsPty");
    read_sink(&call, call_required(&call, options, "sink"), &output);
    return answer(&call, call.failed ? 0 : pump_output_add(loop_pump(loop), &output), "pump_output_add");
}

static napi_value js_add_input(napi_env env, napi_callback_info info) {
    struct call call;
    struct pump_input input = { 0 };
    call_begin(&call, env, info);
    struct loop *loop = loop_of(&call);
    napi_value options = call.arguments[0];
    input.id = call_id(&call, call_required(&call, options, "id"), "id");
    input.dest = call_integer(&call, call_required(&call, options, "dest"), "dest");
    input.dest_is_pty = call_boolean(&call, call_required(&call, options, "destIsPty"), "destIsPty");
    napi_value path = call_member(&call, options, "fifoPath");
    if (path)
        input.fifo_path = call_string(&call, path, "fifoPath");
    return answer(&call, call.failed ? 0 : pump_input_add(loop_pump(loop), &input), "pump_input_add");
}

static napi_value js_add_client(napi_env env, napi_callback_info info) {
    struct call call;
    call_begin(&call, env, info);
    struct loop *loop = loop_of(&call);
    uint32_t id = call_id(&call, call.arguments[0], "id");
    int fd = call_integer(&call, call.arguments[1], "fd");
    uint32_t input = call_id(&call, call.arguments[2], "input");
    uint32_t out = call_id(&call, call.arguments[3], "stdout");
    uint32_t err = call_id(&call, call.arguments[4], "stderr");
    int result = call.failed ? 0 : pump_client_add(loop_pump(loop), id, fd, input, out, err);
    return answer(&call, result, "pump_client_add");
}

static napi_value js_watch(napi_env env, napi_callback_info info) {
    struct call call;
    call_begin(&call, env, info);
    struct loop *loop = loop_of(&call);
    uint32_t id = call_id(&call, call.arguments[0], "id");
    int fd = call_integer(&call, call.arguments[1], "fd");
    int bits = call_integer(&call, call.arguments[2], "bits");
    return answer(&call, call.failed ? 0 : pump_watch(loop_pump(loop), id, fd, bits), "pump_watch");
}

/* The methods that take an id, and those that take an id and milliseconds. */

static napi_value with_id(napi_env env, napi_callback_info info, int (*function)(struct pump *, uint32_t), const char *name) {
    struct call call;
    call_begin(&call, env, info);
    struct loop *loop = loop_of(&call);
    uint32_t id = call_id(&call, call.arguments[0], "id");
    return answer(&call, call.failed ? 0 : function(loop_pump(loop), id), name);
}

static napi_value with_grace(napi_env env, napi_callback_info info, int (*function)(struct pump *, uint32_t, uint32_t),
                             const char *name) {
    struct call call;
    call_begin(&call, env, info);
    struct loop *loop = loop_of(&call);
    uint32_t id = call_id(&call, call.arguments[0], "id");
    uint32_t grace = call_id(&call, call.arguments[1], "graceMilliseconds");
    return answer(&call, call.failed ? 0 : function(loop_pump(loop), id, grace), name);
}

static napi_value js_drain_output(napi_env env, napi_callback_info info) {
    return with_grace(env, info, pump_output_drain, "pump_output_drain");
}

static napi_value js_finish_output(napi_env env, napi_callback_info info) {
    return with_grace(env, info, pump_output_finish, "pump_output_finish");
}

static napi_value js_remove_output(napi_env env, napi_callback_info info) {
    return with_id(env, info, pump_output_remove, "pump_output_remove");
}

static napi_value js_reopen_output(napi_env env, napi_callback_info info) {
    return with_id(env, info, pump_output_reopen, "pump_output_reopen");
}

static napi_value js_close_input(napi_env env, napi_callback_info info) {
    return with_id(env, info, pump_input_close, "pump_input_close");
}

static napi_value js_remove_input(napi_env env, napi_callback_info info) {
    return with_id(env, info, pump_input_remove, "pump_input_remove");
}

static napi_value js_remove_client(napi_env env, napi_callback_info info) {
    return with_id(env, info, pump_client_remove, "pump_client_remove");
}

static napi_value js_unwatch(napi_env env, napi_callback_info info) {
    return with_id(env, info, pump_unwatch, "pump_unwatch");
}

static napi_value js_is_idle(napi_env env, napi_callback_info info) {
    struct call call;
    napi_value idle = NULL;
    call_begin(&call, env, info);
    struct loop *loop = loop_of(&call);
    if (loop)
        call_ok(&call, napi_get_boolean(env, pump_is_idle(loop_pump(loop)) == 1, &idle));
    return call_end(&call, idle);
}

static napi_value js_descriptors(napi_env env, napi_callback_info info) {
    struct call call;
    call_begin(&call, env, info);
    struct loop *loop = loop_of(&call);
    int *fds = NULL, room = 0, count = loop ? pump_descriptors(loop_pump(loop), NULL, 0) : 0;
    while (!call.failed && count > room) {
        room = count;
        fds = call_allocate(&call, (size_t)room * sizeof *fds);
        count = fds ? pump_descriptors(loop_pump(loop), fds, room) : 0;
    }
    if (count < 0)
        call_fail_errno(&call, -count, "pump_descriptors", NULL);
    return call_end(&call, call.failed ? NULL : call_new_integers(&call, fds, (size_t)count));
}

const struct function pump_methods[] = {
    { "addOutput", js_add_output },
    { "drainOutput", js_drain_output },
    { "finishOutput", js_finish_output },
    { "removeOutput", js_remove_output },
    { "reopenOutput", js_reopen_output },
    { "addInput", js_add_input },
    { "closeInput", js_close_input },
    { "removeInput", js_remove_input },
    { "addClient", js_add_client },
    { "removeClient", js_remove_client },
    { "watch", js_watch },
    { "unwatch", js_unwatch },
    { "isIdle", js_is_idle },
    { "descriptors", js_descriptors },
    { NULL, NULL },
};
