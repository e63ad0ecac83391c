/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "napi_call.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct call_block {
    struct call_block *next;
    max_align_t content[];
};

void call_begin(struct call *call, napi_env env, napi_callback_info info) {
    memset(call, 0, sizeof *call);
    call->env = env;
    size_t count = CALL_MOST_ARGUMENTS;
    call_ok(call, napi_get_cb_info(env, info, &count, call->arguments, &call->self, NULL));
}

napi_value call_end(struct call *call, napi_value result) {
    while (call->blocks) {
        struct call_block *block = call->blocks;
        call->blocks = block->next;
        free(block);
    }
    return call->failed ? NULL : result;
}

void *call_allocate(struct call *call, size_t bytes) {
    struct call_block *block = call->failed ? NULL : calloc(1, sizeof *block + bytes);
    if (!block) {
        if (!call->failed)
            call_fail_errno(call, ENOMEM, "calloc", NULL);
        return NULL;
    }
    block->next = call->blocks;
    call->blocks = block;
    return block->content;
}

void call_fail(struct call *call, const struct failure *failure) {
    call_fail_errno(call, failure->error, failure->syscall, failure->path);
}

/* Node-API calls whose failure changes nothing more are not looked at: an exception is on its way. */
void call_fail_errno(struct call *call, int error, const char *syscall, const char *path) {
    if (call->failed)
        return;
    call->failed = true;
    const char *name = strerrorname_np(error);
    char text[512];
    snprintf(text, sizeof text, "%s%s%s: %s", syscall, path ? " " : "", path ? path : "", strerror(error));
    napi_value code, message, object, number, call_name, call_path;
    napi_create_string_utf8(call->env, name ? name : "EUNKNOWN", NAPI_AUTO_LENGTH, &code);
    napi_create_string_utf8(call->env, text, NAPI_AUTO_LENGTH, &message);
    napi_create_error(call->env, code, message, &object);
    napi_create_int32(call->env, error, &number);
    napi_create_string_utf8(call->env, syscall, NAPI_AUTO_LENGTH, &call_name);
    napi_set_named_property(call->env, object, "errno", number);
    napi_set_named_property(call->env, object, "syscall", call_name);
    if (path) {
        napi_create_string_utf8(call->env, path, NAPI_AUTO_LENGTH, &call_path);
        napi_set_named_property(call->env, object, "path", call_path);
    }
    napi_throw(call->env, object);
}

void call_refuse(struct call *call, const char *what) {
    if (call->failed)
        return;
    call->failed = true;
    napi_throw_type_error(call->env, "ERR_INVALID_ARG_TYPE", what);
}

bool call_ok(struct call *call, napi_status status) {
    if (status == napi_ok)
        return !call->failed;
    if (status == napi_pending_exception)
        call->failed = true;
    else
        call_refuse(call, "the JavaScript host refused an operation of the addon");
    return false;
}

static void refuse_value(struct call *call, const char *what, const char *wanted) {
    char text[128];
    snprintf(text, sizeof text, "%s must be %s", what, wanted);
    call_refuse(call, text);
}

static bool has_type(struct call *call, napi_value value, napi_valuetype wanted) {
    napi_valuetype type;
    return value && napi_typeof(call->env, value, &type) == napi_ok && type == wanted;
}

/* A whole number between the bounds, both of which a double represents exactly. */
static double whole_number(struct call *call, napi_value value, const char *what, double least, double most) {
    double number = 0;
    if (call->failed)
        return 0;
    if (!has_type(call, value, napi_number) || napi_get_value_double(call->env, value, &number) != napi_ok ||
        !(number >= least && number <= most) || number != (double)(int64_t)number) {
        refuse_value(call, what, "a whole number in range");
        return 0;
    }
    return number;
}

int32_t call_integer(struct call *call, napi_value value, const char *what) {
    return (int32_t)whole_number(call, value, what, INT32_MIN, INT32_MAX);
}

uint32_t call_id(struct call *call, napi_value value, const char *what) {
    return (uint32_t)whole_number(call, value, what, 0, UINT32_MAX);
}

uint64_t call_size(struct call *call, napi_value value, const char *what) {
    return (uint64_t)whole_number(call, value, what, 0, 9007199254740991.0);
}

bool call_boolean(struct call *call, napi_value value, const char *what) {
    bool result = false;
    if (!call->failed && (!value || napi_get_value_bool(call->env, value, &result) != napi_ok))
        refuse_value(call, what, "a boolean");
    return result;
}

const char *call_string(struct call *call, napi_value value, const char *what) {
    size_t length = 0;
    if (call->failed)
        return NULL;
    if (!has_type(call, value, napi_string) || napi_get_value_string_utf8(call->env, value, NULL, 0, &length) != napi_ok) {
        refuse_value(call, what, "a string");
        return NULL;
    }
    char *text = call_allocate(call, length + 1);
    if (!text || !call_ok(call, napi_get_value_string_utf8(call->env, value, text, length + 1, &length)))
        return NULL;
    if (strlen(text) != length) {
        refuse_value(call, what, "a string without null bytes");
        return NULL;
    }
    return text;
}

static uint32_t array_length(struct call *call, napi_value value, const char *what) {
    bool is_array = false;
    uint32_t length = 0;
    if (call->failed)
        return 0;
    if (!value || napi_is_array(call->env, value, &is_array) != napi_ok || !is_array) {
        refuse_value(call, what, "an array");
        return 0;
    }
    call_ok(call, napi_get_array_length(call->env, value, &length));
    return length;
}

static napi_value array_element(struct call *call, napi_value array, uint32_t index) {
    napi_value element = NULL;
    if (!call->failed)
        call_ok(call, napi_get_element(call->env, array, index, &element));
    return element;
}

const char **call_strings(struct call *call, napi_value value, const char *what, size_t *count) {
    uint32_t length = array_length(call, value, what);
    const char **strings = call_allocate(call, (length + 1) * sizeof *strings);
    for (uint32_t i = 0; strings && i < length; i++)
        strings[i] = call_string(call, array_element(call, value, i), what);
    if (count)
        *count = length;
    return strings;
}

int *call_integers(struct call *call, napi_value value, const char *what, size_t *count) {
    uint32_t length = array_length(call, value, what);
    int *integers = call_allocate(call, (length + 1) * sizeof *integers);
    for (uint32_t i = 0; integers && i < length; i++)
        integers[i] = call_integer(call, array_element(call, value, i), what);
    *count = length;
    return integers;
}

napi_value call_member(struct call *call, napi_value object, const char *name) {
    napi_value value = NULL;
    if (call->failed)
        return NULL;
    if (!has_type(call, object, napi_object)) {
        refuse_value(call, "the options", "an object");
        return NULL;
    }
    if (!call_ok(call, napi_get_named_property(call->env, object, name, &value)))
        return NULL;
    return has_type(call, value, napi_undefined) ? NULL : value;
}

napi_value call_required(struct call *call, napi_value object, const char *name) {
    napi_value value = call_member(call, object, name);
    if (!value)
        refuse_value(call, name, "given");
    return value;
}

napi_value call_new_integer(struct call *call, int64_t number) {
    napi_value value = NULL;
    if (!call->failed)
        call_ok(call, napi_create_int64(call->env, number, &value));
    return value;
}

napi_value call_new_string(struct call *call, const char *text) {
    napi_value value = NULL;
    if (!call->failed)
        call_ok(call, napi_create_string_utf8(call->env, text, NAPI_AUTO_LENGTH, &value));
    return value;
}

napi_value call_new_object(struct call *call) {
    napi_value value = NULL;
    if (!call->failed)
        call_ok(call, napi_create_object(call->env, &value));
    return value;
}

napi_value call_new_integers(struct call *call, const int *integers, size_t count) {
    napi_value array = NULL;
    if (call->failed || !call_ok(call, napi_create_array_with_length(call->env, count, &array)))
        return NULL;
    for (uint32_t i = 0; i < count; i++) {
        napi_value element = call_new_integer(call, integers[i]);
        if (!element || !call_ok(call, napi_set_element(call->env, array, i, element)))
            return NULL;
    }
    return array;
}

void call_set(struct call *call, napi_value object, const char *name, napi_value value) {
    if (!call->failed && value)
        call_ok(call, napi_set_named_property(call->env, object, name, value));
}
