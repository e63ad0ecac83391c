/* SPDX-License-Identifier: Apache-2.0 */
/* Events of the loop as the objects that src/linux/native.ts describes. */
#include "napi_loop.h"

static const char *name_of(const char *const *names, size_t count, int64_t value) {
    return value >= 0 && (size_t)value < count ? names[value] : names[count - 1];
}

#define NAME_OF(names, value) name_of(names, sizeof(names) / sizeof *(names), value)

static const char *const drained_names[] = { "delivered", "spooled", "lost" };
static const char *const gone_names[] = { "left", "slow", "protocol", "ended" };

static napi_value new_boolean(struct call *call, bool on) {
    napi_value value = NULL;
    call_ok(call, napi_get_boolean(call->env, on, &value));
    return value;
}

static const char *fill_in_pump_event(struct call *call, napi_value object, const struct pump_event *event) {
    call_set(call, object, "id", call_new_integer(call, event->id));
    switch (event->kind) {
    case PUMP_EV_READY:
        call_set(call, object, "bits", call_new_integer(call, event->value));
        return "ready";
    case PUMP_EV_DRAINED:
        call_set(call, object, "outcome", call_new_string(call, NAME_OF(drained_names, event->value)));
        return "drained";
    case PUMP_EV_OUTPUT_ENDED:
        call_set(call, object, "errno", call_new_integer(call, event->value));
        return "outputEnded";
    case PUMP_EV_INPUT_ENDED:
        call_set(call, object, "errno", call_new_integer(call, event->value));
        return "inputEnded";
    case PUMP_EV_CLIENT_GONE:
        call_set(call, object, "reason", call_new_string(call, NAME_OF(gone_names, event->value)));
        return "clientGone";
    case PUMP_EV_SINK_ERROR:
        call_set(call, object, "errno", call_new_integer(call, event->value));
        return "sinkError";
    case PUMP_EV_SPOOLING:
        call_set(call, object, "active", new_boolean(call, event->value != 0));
        return "spooling";
    default:
        return "unknown";
    }
}

static const char *fill_in_exit(struct call *call, napi_value object, const struct child_exit *exit) {
    napi_value at = NULL;
    call_set(call, object, "pid", call_new_integer(call, exit->pid));
    call_set(call, object, "exitCode", call_new_integer(call, exit->exit_code));
    call_set(call, object, "signal", call_new_integer(call, exit->signal));
    call_ok(call, napi_create_bigint_uint64(call->env, exit->at_nanoseconds, &at));
    call_set(call, object, "atNanoseconds", at);
    return "exit";
}

napi_value loop_events_to_array(struct call *call, const struct loop_event *events, size_t count) {
    napi_value array = NULL;
    if (!call_ok(call, napi_create_array_with_length(call->env, count, &array)))
        return NULL;
    for (uint32_t i = 0; i < count; i++) {
        napi_value object = call_new_object(call);
        const char *kind = events[i].is_exit ? fill_in_exit(call, object, &events[i].of.exit)
                                             : fill_in_pump_event(call, object, &events[i].of.pump);
        call_set(call, object, "kind", call_new_string(call, kind));
        if (call->failed || !call_ok(call, napi_set_element(call->env, array, i, object)))
            return NULL;
    }
    return array;
}
