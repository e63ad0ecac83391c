/* SPDX-License-Identifier: Apache-2.0 */
#include "keeper_text.h"

#include <stdlib.h>
#include <string.h>

#include "launcher.h"

/* ",kind:id:value" at most: 1 + 10 + 1 + 10 + 1 + 20. */
#define EVENT_CHARACTERS 44

static const char *const replaced[] = { "BERTH_KEEPER=", "BERTH_WAKE=",     "BERTH_WAKE_AFTER_MS=",
                                        "BERTH_PUMP=",   "BERTH_WOKEN_BY=", "BERTH_WOKEN_AT=",
                                        "BERTH_EVENTS=" };
#define REPLACED (sizeof replaced / sizeof *replaced)
#define ADDED 4

bool read_number(const char **text, int64_t *number) {
    const char *at = *text;
    if (*at < '0' || *at > '9')
        return false;
    int64_t value = 0;
    for (; *at >= '0' && *at <= '9'; at++) {
        if (value > (INT64_MAX - 9) / 10)
            return false;
        value = value * 10 + (*at - '0');
    }
    *number = value;
    *text = *at == ',' || *at == ':' ? at + 1 : at;
    return true;
}

static char *write_text(char *to, const char *text) {
    size_t length = strlen(text);
    memcpy(to, text, length);
    return to + length;
}

static bool is_replaced(const char *variable) {
    for (size_t i = 0; i < REPLACED; i++) {
        if (strncmp(variable, replaced[i], strlen(replaced[i])) == 0)
            return true;
    }
    return false;
}

static char *write_events(char *to, const struct pump_event *events, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            *to++ = ',';
        to = write_number(to, events[i].kind);
        *to++ = ':';
        to = write_number(to, events[i].id);
        *to++ = ':';
        to = write_number(to, events[i].value);
    }
    return to;
}

/* One block: the pointers, and behind them the new variables' text. */
char **host_environment(char *const *envp, int pump, const char *woken_by, int64_t woken_at, int64_t ended_child,
                        const struct pump_event *events, size_t count) {
    size_t variables = 0;
    while (envp[variables])
        variables++;
    size_t pointers = (variables + ADDED + 1) * sizeof(char *);
    char **all = calloc(1, pointers + 192 + strlen(woken_by) + count * EVENT_CHARACTERS);
    if (!all)
        return NULL;
    char **next = all;
    for (size_t i = 0; i < variables; i++) {
        if (!is_replaced(envp[i]))
            *next++ = envp[i];
    }
    char *text = (char *)all + pointers;
    *next++ = text;
    text = write_number(write_text(text, "BERTH_PUMP="), pump) + 1;
    *next++ = text;
    text = write_text(write_text(text, "BERTH_WOKEN_BY="), woken_by) + 1;
    *next++ = text;
    text = write_number(write_text(text, "BERTH_WOKEN_AT="), woken_at);
    *text++ = ':';
    text = write_number(text, ended_child) + 1;
    *next++ = text;
    write_events(write_text(text, "BERTH_EVENTS="), events, count);
    return all;
}

void free_host_environment(char **envp) {
    free(envp);
}
