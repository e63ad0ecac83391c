/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
#include <unistd.h>

#include "launcher.h"

static void say(const char *text) {
    if (write(STDERR_FILENO, text, strlen(text)) < 0) {
        /* There is nobody to tell. */
    }
}

void complain(const char *text, int error) {
    say("berth: ");
    say(text);
    if (error) {
        say(": ");
        say(strerror(error));
    }
    say("\n");
}

const char *environment_value(char *const *envp, const char *name) {
    size_t length = strlen(name);
    for (; *envp; envp++) {
        if (strncmp(*envp, name, length) == 0 && (*envp)[length] == '=')
            return *envp + length + 1;
    }
    return NULL;
}
