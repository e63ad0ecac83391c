/* SPDX-License-Identifier: Apache-2.0 */
/* The Loop object: its life, and how its events reach JavaScript. */
#define _GNU_SOURCE
#include "napi_loop.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

struct js_loop {
    struct loop *loop;
    napi_env env;
    struct addon *addon;
    int holders; /* the JavaScript object, and the threadsafe function while there is one */
    /* All NULL when stopped. */
    napi_threadsafe_function wake;
    napi_ref self;
    napi_ref on_events;
};

static void let_go(struct js_loop *js) {
    if (--js->holders > 0)
        return;
    loop_free(js->loop);
    free(js);
}

static void object_gone(napi_env env, void *js, void *hint) {
    (void)env;
    (void)hint;
    let_go(js);
}

static void wake_gone(napi_env env, void *js, void *hint) {
    (void)env;
    (void)hint;
    let_go(js);
}

static struct js_loop *js_loop_of(struct call *call) {
    void *js = NULL;
    if (!call->failed && napi_unwrap(call->env, call->self, &js) != napi_ok)
        call_refuse(call, "this is not a Loop");
    return js;
}

struct loop *loop_of(struct call *call) {
    struct js_loop *js = js_loop_of(call);
    return js ? js->loop : NULL;
}

/* Any thread. Fails only while the environment is being torn down. */
static void notify(void *context) {
    struct js_loop *js = context;
    napi_call_threadsafe_function(js->wake, NULL, napi_tsfn_nonblocking);
}

/* Hands all queued events over in one call. An exception that the callback throws stays pending. */
static void deliver(struct js_loop *js, napi_value on_events) {
    struct loop_event *events = NULL;
    size_t count = loop_take(js->loop, &events);
    struct call call = { .env = js->env };
    napi_value batch = count > 0 ? loop_events_to_array(&call, events, count) : NULL;
    free(events);
    napi_value receiver;
    if (batch && call_ok(&call, napi_get_undefined(js->env, &receiver)))
        napi_call_function(js->env, receiver, on_events, 1, &batch, NULL);
}

static void on_wake(napi_env env, napi_value on_events, void *context, void *unused) {
    struct js_loop *js = context;
    (void)unused;
    if (!env || !js->wake)
        return;
    deliver(js, on_events);
    bool pending = false;
    napi_value exception;
    if (napi_is_exception_pending(env, &pending) == napi_ok && pending &&
        napi_get_and_clear_last_exception(env, &exception) == napi_ok)
        napi_fatal_exception(env, exception);
}

/* The environment goes while the loop runs: no thread may be left that calls into it. */
static void stop_with_environment(void *context) {
    struct js_loop *js = context;
    loop_stop(js->loop);
    js->addon->running = NULL;
}

static bool create_wake(struct call *call, struct js_loop *js, napi_value on_events) {
    napi_value name = call_new_string(call, "berth:loop");
    if (!call_ok(call, napi_create_threadsafe_function(call->env, on_events, NULL, name, 0, 1, js, wake_gone, js, on_wake,
                                                       &js->wake)))
        return false;
    js->holders++;
    return true;
}

static void release_wake(struct js_loop *js) {
    napi_threadsafe_function wake = js->wake;
    js->wake = NULL;
    napi_release_threadsafe_function(wake, napi_tsfn_abort);
}

static napi_value js_start(napi_env env, napi_callback_info info) {
    struct call call;
    call_begin(&call, env, info);
    struct js_loop *js = js_loop_of(&call);
    napi_valuetype type = napi_undefined;
    if (js && js->addon->running)
        call_fail_errno(&call, EBUSY, "start", NULL);
    if (js && napi_typeof(env, call.arguments[0], &type) == napi_ok && type != napi_function)
        call_refuse(&call, "onEvents must be a function");
    if (!call.failed && create_wake(&call, js, call.arguments[0])) {
        int error = loop_start(js->loop, notify, js);
        if (error) {
            release_wake(js);
            call_fail_errno(&call, -error, "pthread_create", NULL);
        } else {
            js->addon->running = js->loop;
            napi_create_reference(env, call.self, 1, &js->self);
            napi_create_reference(env, call.arguments[0], 1, &js->on_events);
            napi_add_env_cleanup_hook(env, stop_with_environment, js);
        }
    }
    return call_end(&call, NULL);
}

static napi_value js_stop(napi_env env, napi_callback_info info) {
    struct call call;
    call_begin(&call, env, info);
    struct js_loop *js = js_loop_of(&call);
    if (js && js->addon->running == js->loop) {
        loop_stop(js->loop);
        js->addon->running = NULL;
        napi_remove_env_cleanup_hook(env, stop_with_environment, js);
        release_wake(js);
        napi_value on_events;
        napi_get_reference_value(env, js->on_events, &on_events);
        napi_delete_reference(env, js->on_events);
        napi_delete_reference(env, js->self);
        js->on_events = js->self = NULL;
        deliver(js, on_events);
    }
    return call_end(&call, NULL);
}

static napi_value js_collect(napi_env env, napi_callback_info info) {
    struct call call;
    call_begin(&call, env, info);
    struct loop *loop = loop_of(&call);
    pid_t pid = call_integer(&call, call.arguments[0], "pid");
    int error = call.failed ? 0 : loop_collect(loop, pid);
    if (error)
        call_fail_errno(&call, -error, "waitid", NULL);
    return call_end(&call, NULL);
}

static napi_value js_save(napi_env env, napi_callback_info info) {
    struct call call;
    int fd = -1;
    call_begin(&call, env, info);
    struct loop *loop = loop_of(&call);
    if (loop && addon_of(env)->running == loop)
        call_fail_errno(&call, EBUSY, "pump_save", NULL);
    if (!call.failed && (fd = memfd_create("berth-pump", MFD_CLOEXEC)) < 0)
        call_fail_errno(&call, errno, "memfd_create", NULL);
    if (fd >= 0) {
        int error = pump_save(loop_pump(loop), fd);
        if (error < 0 || lseek(fd, 0, SEEK_SET) < 0) {
            call_fail_errno(&call, error < 0 ? -error : errno, "pump_save", NULL);
            close(fd);
        }
    }
    return call_end(&call, call_new_integer(&call, fd));
}

static const struct function loop_methods[] = {
    { "start", js_start }, { "stop", js_stop }, { "collect", js_collect }, { "save", js_save }, { NULL, NULL },
};

/* A new pump, or the one that was saved to a descriptor, which is closed. */
static struct pump *open_pump(struct call *call) {
    napi_valuetype type = napi_undefined;
    napi_typeof(call->env, call->arguments[0], &type);
    if (type == napi_undefined) {
        struct pump *pump = pump_new();
        if (!pump)
            call_fail_errno(call, errno, "pump_new", NULL);
        return pump;
    }
    int fd = call_integer(call, call->arguments[0], "savedState");
    if (call->failed)
        return NULL;
    struct pump *pump = lseek(fd, 0, SEEK_SET) < 0 ? NULL : pump_load(fd);
    if (!pump)
        call_fail_errno(call, errno, "pump_load", NULL);
    else
        close(fd);
    return pump;
}

static napi_value js_create_loop(napi_env env, napi_callback_info info) {
    struct call call;
    call_begin(&call, env, info);
    struct pump *pump = open_pump(&call);
    struct loop *loop = pump ? loop_new(pump) : NULL;
    struct js_loop *js = loop ? calloc(1, sizeof *js) : NULL;
    if (pump && !js) {
        if (loop)
            loop_free(loop);
        else
            pump_free(pump);
        call_fail_errno(&call, ENOMEM, "calloc", NULL);
    }
    napi_value object = call_new_object(&call);
    if (js && object && call_ok(&call, napi_wrap(env, object, js, object_gone, NULL, NULL))) {
        *js = (struct js_loop){ .loop = loop, .env = env, .addon = addon_of(env), .holders = 1 };
        call_ok(&call, define_functions(env, object, loop_methods));
        call_ok(&call, define_functions(env, object, pump_methods));
    }
    return call_end(&call, object);
}

const struct function loop_functions[] = { { "createLoop", js_create_loop }, { NULL, NULL } };
