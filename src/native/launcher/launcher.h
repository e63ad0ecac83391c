/* SPDX-License-Identifier: Apache-2.0 */
/*
 * containerd-shim-berth-v2 as it is on the disk: a small static program that becomes the JavaScript host, or waits for it
 * (start), or sleeps in its place (keeper), or holds a sandbox's namespaces (pause), or writes a container's log (logger).
 */
#ifndef BERTH_LAUNCHER_H
#define BERTH_LAUNCHER_H

#include <stddef.h>
#include <stdint.h>

/* "berth: text: reason" on stderr; error 0: no reason. */
void complain(const char *text, int error);

/* Writes a decimal number; returns where it ends. No stdio: its pages would be the keeper's. */
char *write_number(char *to, int64_t number);

/* host.c: execs the JavaScript host with these arguments (argv[0]: the name to be seen by). Returns only on failure: errno. */
int host_exec(char *const *argv, char *const *envp);

/* Each mode returns the exit code. */
int start_main(char *const *argv, char *const *envp);
int keeper_main(char *const *argv, char *const *envp);
int pause_main(char *const *argv);
int logger_main(int argc, char *const *argv);

/* The value of NAME in an environment, or NULL. */
const char *environment_value(char *const *envp, const char *name);

#endif
