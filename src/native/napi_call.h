/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One call from JavaScript: its arguments, the memory that lives until it returns, and whether it has failed. The first thing
 * that goes wrong leaves an exception pending and sets `failed`; every later conversion then gives 0 or NULL.
 */
#ifndef BERTH_NAPI_CALL_H
#define BERTH_NAPI_CALL_H

#include <node_api.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "failure.h"

#define CALL_MOST_ARGUMENTS 5

struct call {
    napi_env env;
    napi_value self;
    napi_value arguments[CALL_MOST_ARGUMENTS];
    struct call_block *blocks;
    bool failed;
};

void call_begin(struct call *, napi_env, napi_callback_info);
/* Frees what the call had allocated; NULL when it has failed, else the result (NULL: undefined). */
napi_value call_end(struct call *, napi_value result);
/* Zeroed memory until call_end; NULL fails the call. */
void *call_allocate(struct call *, size_t bytes);

/* Failing: a system call's error, a refused argument, or a Node-API status that is not ok. */
void call_fail(struct call *, const struct failure *);
void call_fail_errno(struct call *, int error, const char *syscall, const char *path);
void call_refuse(struct call *, const char *what);
bool call_ok(struct call *, napi_status);

/* Conversions. `what` names the value for the TypeError. */
int32_t call_integer(struct call *, napi_value, const char *what);
uint32_t call_id(struct call *, napi_value, const char *what);
uint64_t call_size(struct call *, napi_value, const char *what);
bool call_boolean(struct call *, napi_value, const char *what);
const char *call_string(struct call *, napi_value, const char *what);
/* NULL-terminated. */
const char **call_strings(struct call *, napi_value, const char *what, size_t *count);
int *call_integers(struct call *, napi_value, const char *what, size_t *count);
/* The member of an object, or NULL when it is undefined or the call has failed. */
napi_value call_member(struct call *, napi_value object, const char *name);
/* As call_member, but that it is missing is a TypeError. */
napi_value call_required(struct call *, napi_value object, const char *name);

/* Results. */
napi_value call_new_integer(struct call *, int64_t);
napi_value call_new_string(struct call *, const char *);
napi_value call_new_object(struct call *);
napi_value call_new_integers(struct call *, const int *, size_t count);
void call_set(struct call *, napi_value object, const char *name, napi_value value);

#endif
