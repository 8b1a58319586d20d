/* Names and sentences. */
#include <stdio.h>
#include <string.h>

#include "internal.h"

#define SHOWN_NAME_MAX 200

const char *files_remedy(int status) {
    switch (status) {
    case ERR_UNAVAILABLE:
    case ERR_TIMEOUT:
        return "no quorum answered in time: are enough nodes running? see 'shoal status'";
    case ERR_NO_SPACE:
        return "no space left on the nodes that should keep it: free some, or add a node";
    case ERR_NOT_FOUND:
        return "there is no such file: see 'shoal ls'";
    case ERR_PRECONDITION:
        return "the condition does not hold: 'shoal stat' shows what is stored under this name";
    case ERR_ABORTED:
        return "the upload took so long that it was given up: try again";
    case ERR_CORRUPT:
        return "no intact copy of a part of it was found";
    case ERR_BUSY:
        return "the node has too much to do: try again";
    default:
        return err_text(status);
    }
}

void files_fail(struct files_result *result, int status, const char *verb, const char *name, size_t name_size,
                const char *remedy) {
    int shown = name_size < SHOWN_NAME_MAX ? (int)name_size : SHOWN_NAME_MAX;
    while (shown > 0 && (size_t)shown < name_size && ((uint8_t)name[shown] & 0xc0) == 0x80) {
        shown--; /* not in the middle of a character */
    }
    *result = (struct files_result){.status = status};
    (void)snprintf(result->message, sizeof(result->message), "%s %.*s%s: %s", verb, shown, name,
                   name_size > SHOWN_NAME_MAX ? "..." : "", remedy ? remedy : files_remedy(status));
}

/* A name that is refused may not be fit to print. */
int files_name(const char *bytes, size_t size, struct name *out, struct files_result *result, const char *verb) {
    int rc = name_parse(bytes, size, out);
    if (rc == ERR_TOO_LARGE) {
        files_fail(result, rc, verb, "", 0, "the name is too long: at most 63 bytes of bucket and 1024 of key");
    } else if (rc) {
        files_fail(result, rc, verb, "", 0,
                   "not a name: use key or bucket/key, UTF-8 without control characters, bucket in [a-z0-9.-]");
    }
    return rc;
}
