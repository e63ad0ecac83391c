/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_NAMESPACE_H
#define BERTH_NAMESPACE_H

#include "failure.h"

/*
 * Makes a new namespace and keeps it by a bind mount on `path`, a file that is made for it (EEXIST when there is one).
 * kind: "net" (with its loopback interface up), "ipc" or "uts". The caller's own namespaces stay as they are.
 */
int namespace_pin(const char *kind, const char *path, struct failure *);

#endif
