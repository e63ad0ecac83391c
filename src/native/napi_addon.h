/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of the addon offer to its entry point, and the little that they share. */
#ifndef BERTH_NAPI_ADDON_H
#define BERTH_NAPI_ADDON_H

#include <node_api.h>
#include <stddef.h>

struct loop;

/* Of one JavaScript environment. */
struct addon {
    struct loop *running; /* the loop that is started, or NULL */
};

struct function {
    const char *name;
    napi_callback callback;
};

/* Each ends with a NULL name. */
extern const struct function process_functions[];
extern const struct function descriptor_functions[];
extern const struct function socket_functions[];
extern const struct function mount_functions[];
extern const struct function file_functions[];
extern const struct function loop_functions[];

/* Gives the object these functions as members. */
napi_status define_functions(napi_env, napi_value object, const struct function *);
struct addon *addon_of(napi_env);

#endif
