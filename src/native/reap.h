/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One reaper for all children, also those that were re-parented to this process. It looks at a child that has ended, reports
 * it, and looks for the next only once that one is collected: so whoever writes exits down does so before the kernel forgets.
 */
#ifndef BERTH_REAP_H
#define BERTH_REAP_H

#include <stdint.h>
#include <sys/types.h>

struct reaper;

struct child_exit {
    pid_t pid;
    int exit_code; /* 0 to 255; 128 + signal */
    int signal;    /* 0: it exited by itself */
    uint64_t at_nanoseconds;
};

typedef void reaper_report(void *context, const struct child_exit *);

/* Starts the thread that calls `report`. NULL: errno. */
struct reaper *reaper_start(reaper_report *report, void *context);
/* Ends the thread, promptly, and frees the reaper. */
void reaper_stop(struct reaper *);
/* To be called after each spawn: a reaper without children sleeps. */
void reaper_child_added(struct reaper *);
/* To be called after reaper_collect_child: the reaper goes on. */
void reaper_collected(struct reaper *, pid_t);

/* Removes a zombie. 0, or -errno: ECHILD when it is no child, EAGAIN when it has not ended. Needs no reaper. */
int reaper_collect_child(pid_t);

#endif
