#include "names.h"

#include <string.h>

#include "check.h"
#include "errors.h"
#include "name.h"
#include "parse.h"

int names_check(struct cli_args *args, const char *text, struct client_text *ret_name) {
    CHECK(text != NULL && ret_name != NULL);
    struct name name;
    size_t size = strlen(text);
    int error = name_parse(text, size, &name);
    if (error == 0) {
        *ret_name = (struct client_text){.bytes = text, .size = size};
        return CLI_END;
    }
    if (error == ERR_TOO_LARGE)
        return cli_refuse(args, "%s: '%.40s...' is too long a name: a bucket has at most %d bytes, a key %d",
                          args->command->name, text, NAME_BUCKET_MAX, NAME_KEY_MAX);
    return cli_refuse(args,
                      "%s: '%s' cannot be a name: use BUCKET/KEY or KEY, the bucket of a-z, 0-9, '.' and '-', the key "
                      "any UTF-8 without control characters",
                      args->command->name, text);
}

int names_check_version(struct cli_args *args, const char *text, uint8_t ret_version[16]) {
    CHECK(text != NULL);
    if (parse_version(text, ret_version) == 0)
        return CLI_END;
    return cli_refuse(args, "%s: '%s' is no version: give the 32 digits that 'shoal stat' shows", args->command->name,
                      text);
}
