#include "names.h"

#include <string.h>

#include "check.h"
#include "errors.h"
#include "name.h"
#include "parse.h"

#define CAPITALS "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define LETTERS_AND_DIGITS "abcdefghijklmnopqrstuvwxyz0123456789"

/* The first rule that a name which cannot be one breaks. */
static const char *names_broken_rule(const char *text) {
    const char *slash = strchr(text, '/');
    size_t bucket_size = slash != NULL ? (size_t)(slash - text) : 0;
    if (slash == text)
        return "there is no bucket before the '/'";
    if (strcspn(text, CAPITALS) < bucket_size)
        return "a bucket has no capitals, only a-z, 0-9, '.' and '-'";
    if (strspn(text, LETTERS_AND_DIGITS ".-") < bucket_size)
        return "a bucket has only a-z, 0-9, '.' and '-'";
    if (bucket_size > 0 && strspn(text, LETTERS_AND_DIGITS) == 0)
        return "a bucket begins with a-z or 0-9";
    const char *key = slash != NULL ? slash + 1 : text;
    return key[0] == '\0' ? "there is no key" : "a key is UTF-8 without control characters";
}

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
    return cli_refuse(args, "%s: '%s' cannot be a name, BUCKET/KEY or KEY: %s", args->command->name, text,
                      names_broken_rule(text));
}

int names_check_version(struct cli_args *args, const char *text, uint8_t ret_version[16]) {
    CHECK(text != NULL);
    if (parse_version(text, ret_version) == 0)
        return CLI_END;
    return cli_refuse(args, "%s: '%s' is no version: give the 32 digits that 'shoal stat' shows", args->command->name,
                      text);
}
