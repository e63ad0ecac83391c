/* SPDX-License-Identifier: Apache-2.0 */
/* The addon's entry point. src/linux/native.ts is the contract of all that it exports. */
#include "napi_addon.h"

#include <stdlib.h>

napi_status define_functions(napi_env env, napi_value object, const struct function *functions) {
    for (; functions->name; functions++) {
        napi_property_descriptor property = { .utf8name = functions->name,
                                              .method = functions->callback,
                                              .attributes = napi_enumerable };
        napi_status status = napi_define_properties(env, object, 1, &property);
        if (status != napi_ok)
            return status;
    }
    return napi_ok;
}

struct addon *addon_of(napi_env env) {
    void *addon = NULL;
    napi_get_instance_data(env, &addon);
    return addon;
}

static void free_addon(napi_env env, void *addon, void *hint) {
    (void)env;
    (void)hint;
    free(addon);
}

NAPI_MODULE_INIT() {
    static const struct function *const parts[] = { process_functions, descriptor_functions, socket_functions,
                                                    mount_functions, file_functions, loop_functions };
    struct addon *addon = calloc(1, sizeof *addon);
    if (!addon || napi_set_instance_data(env, addon, free_addon, NULL) != napi_ok) {
        free(addon);
        napi_throw_error(env, "ENOMEM", "cannot initialise the addon");
        return NULL;
    }
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (define_functions(env, exports, parts[i]) != napi_ok)
            return NULL;
    }
    return exports;
}
