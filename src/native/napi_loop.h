/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_NAPI_LOOP_H
#define BERTH_NAPI_LOOP_H

#include "loop.h"
#include "napi_addon.h"
#include "napi_call.h"

/* The loop whose method is being called, or NULL and the call fails. */
struct loop *loop_of(struct call *);

/* An array of LoopEvent (src/linux/native.ts). */
napi_value loop_events_to_array(struct call *, const struct loop_event *, size_t count);

/* The methods that are pump.h's functions. */
extern const struct function pump_methods[];

#endif
