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

char *write_number(char *to, int64_t number) {
    char digits[20];
    int count = 0;
    uint64_t rest = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
    if (number < 0)
        *to++ = '-';
    do
        digits[count++] = (char)('0' + rest % 10);
    while ((rest /= 10) > 0);
    while (count > 0)
        *to++ = digits[--count];
    return to;
}
