/* SPDX-License-Identifier: Apache-2.0 */
/* Starting, signalling and replacing processes. */
#define _GNU_SOURCE
#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "exec.h"
#include "loop.h"
#include "napi_addon.h"
#include "napi_call.h"
#include "spawn.h"

#ifndef PR_SCHED_CORE
#define PR_SCHED_CORE 62
#define PR_SCHED_CORE_CREATE 1
#endif

static void read_spawn_request(struct call *call, napi_value options, struct spawn_request *request) {
    request->file = call_string(call, call_required(call, options, "file"), "file");
    request->argv = (char *const *)call_strings(call, call_required(call, options, "argv"), "argv", NULL);
    request->envp = (char *const *)call_strings(call, call_required(call, options, "env"), "env", NULL);
    request->fds = call_integers(call, call_required(call, options, "fds"), "fds", &request->fd_count);
    napi_value value;
    if ((value = call_member(call, options, "cwd")))
        request->cwd = call_string(call, value, "cwd");
    if ((value = call_member(call, options, "setsid")))
        request->new_session = call_boolean(call, value, "setsid");
    if ((value = call_member(call, options, "parentDeathSignal")))
        request->parent_death_signal = call_integer(call, value, "parentDeathSignal");
    if ((value = call_member(call, options, "cloneFlags")))
        request->clone_flags = call_size(call, value, "cloneFlags");
    if ((value = call_member(call, options, "joinNamespaces")))
        request->namespaces = call_integers(call, value, "joinNamespaces", &request->namespace_count);
    if ((value = call_member(call, options, "cgroups")))
        request->cgroups = call_strings(call, value, "cgroups", &request->cgroup_count);
    if ((value = call_member(call, options, "openFiles")))
        request->open_files = call_size(call, value, "openFiles");
    if ((value = call_member(call, options, "oomScoreAdj"))) {
        int *adjustment = call_allocate(call, sizeof *adjustment);
        if (adjustment)
            *adjustment = call_integer(call, value, "oomScoreAdj");
        request->oom_score_adj = adjustment;
    }
}

static napi_value js_spawn(napi_env env, napi_callback_info info) {
    struct call call;
    struct spawn_request request = { 0 };
    struct failure failure;
    call_begin(&call, env, info);
    read_spawn_request(&call, call.arguments[0], &request);
    pid_t pid = -1;
    if (!call.failed) {
        pid = spawn_process(&request, &failure);
        struct loop *running = addon_of(env)->running;
        if (pid < 0)
            call_fail(&call, &failure);
        else if (running)
            loop_child_added(running);
    }
    return call_end(&call, call_new_integer(&call, pid));
}

static napi_value js_set_subreaper(napi_env env, napi_callback_info info) {
    struct call call;
    call_begin(&call, env, info);
    if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
        call_fail_errno(&call, errno, "prctl", NULL);
    return call_end(&call, NULL);
}

static napi_value js_pidfd_open(napi_env env, napi_callback_info info) {
    struct call call;
    call_begin(&call, env, info);
    pid_t pid = call_integer(&call, call.arguments[0], "pid");
    long fd = call.failed ? -1 : syscall(SYS_pidfd_open, pid, 0);
    if (fd < 0)
        call_fail_errno(&call, errno, "pidfd_open", NULL);
    return call_end(&call, call_new_integer(&call, fd));
}

static napi_value js_pidfd_send_signal(napi_env env, napi_callback_info info) {
    struct call call;
    call_begin(&call, env, info);
    int pidfd = call_integer(&call, call.arguments[0], "pidfd");
    int signal = call_integer(&call, call.arguments[1], "signal");
    if (!call.failed && syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0) < 0)
        call_fail_errno(&call, errno, "pidfd_send_signal", NULL);
    return call_end(&call, NULL);
}

static napi_value js_kill(napi_env env, napi_callback_info info) {
    struct call call;
    call_begin(&call, env, info);
    pid_t pid = call_integer(&call, call.arguments[0], "pid");
    int signal = call_integer(&call, call.arguments[1], "signal");
    if (!call.failed && kill(pid, signal) < 0)
        call_fail_errno(&call, errno, "kill", NULL);
    return call_end(&call, NULL);
}

static napi_value js_create_core_scheduling_cookie(napi_env env, napi_callback_info info) {
    struct call call;
    call_begin(&call, env, info);
    pid_t pid = call_integer(&call, call.arguments[0], "pid");
    int scope = call_integer(&call, call.arguments[1], "scope");
    if (!call.failed && prctl(PR_SCHED_CORE, PR_SCHED_CORE_CREATE, pid, scope, 0) < 0)
        call_fail_errno(&call, errno, "prctl", NULL);
    return call_end(&call, NULL);
}

static napi_value js_execve(napi_env env, napi_callback_info info) {
    struct call call;
    size_t count;
    struct failure failure;
    call_begin(&call, env, info);
    const char *file = call_string(&call, call.arguments[0], "file");
    const char **argv = call_strings(&call, call.arguments[1], "argv", NULL);
    const char **envp = call_strings(&call, call.arguments[2], "env", NULL);
    int *keep = call_integers(&call, call.arguments[3], "keepDescriptors", &count);
    if (!call.failed && exec_in_place(file, (char *const *)argv, (char *const *)envp, keep, count, &failure) < 0)
        call_fail(&call, &failure);
    return call_end(&call, NULL);
}

static napi_value js_set_process_name(napi_env env, napi_callback_info info) {
    struct call call;
    call_begin(&call, env, info);
    const char *name = call_string(&call, call.arguments[0], "name");
    if (!call.failed && prctl(PR_SET_NAME, name) < 0)
        call_fail_errno(&call, errno, "prctl", NULL);
    return call_end(&call, NULL);
}

static napi_value js_trim_memory(napi_env env, napi_callback_info info) {
    (void)env;
    (void)info;
    malloc_trim(0);
    return NULL;
}

const struct function process_functions[] = {
    { "spawn", js_spawn },
    { "setSubreaper", js_set_subreaper },
    { "pidfdOpen", js_pidfd_open },
    { "pidfdSendSignal", js_pidfd_send_signal },
    { "kill", js_kill },
    { "createCoreSchedulingCookie", js_create_core_scheduling_cookie },
    { "execve", js_execve },
    { "setProcessName", js_set_process_name },
    { "trimMemory", js_trim_memory },
    { NULL, NULL },
};
