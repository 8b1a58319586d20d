#include "parse.h"

#include <stdbool.h>
#include <string.h>

#include "check.h"
#include "digest.h"
#include "errors.h"

#define DECIMALS_MAX 3

/* Digits at *text, which moves past them. No digit, or a number over UINT64_MAX, is an error. */
static int take_number(const char **text, uint64_t *ret_number) {
    const char *p = *text;
    uint64_t v = 0;
    for (; *p >= '0' && *p <= '9'; p++)
        if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, (uint64_t)(*p - '0'), &v))
            return ERR_INVALID;
    if (p == *text)
        return ERR_INVALID;
    *text = p;
    *ret_number = v;
    return 0;
}

/* ".5" as thousandths. */
static int take_fraction(const char **text, uint64_t *ret_thousandths) {
    const char *p = *text;
    *ret_thousandths = 0;
    if (*p != '.')
        return 0;
    uint64_t v;
    p++;
    const char *first = p;
    if (take_number(&p, &v) != 0 || p - first > DECIMALS_MAX)
        return ERR_INVALID;
    for (size_t i = (size_t)(p - first); i < DECIMALS_MAX; i++)
        v *= 10;
    CHECK(v < 1000);
    *text = p;
    *ret_thousandths = v;
    return 0;
}

static int size_unit(const char *text, uint64_t *ret_unit) {
    static const char letters[] = "kMGTPE";
    uint64_t thousands = 1;
    uint64_t binary = 1;
    *ret_unit = 1;
    if (text[0] == '\0' || strcmp(text, "B") == 0)
        return 0;
    for (size_t i = 0; letters[i] != '\0'; i++) {
        thousands *= 1000;
        binary *= 1024;
        if (text[0] != letters[i] && !(text[0] == 'K' && letters[i] == 'k'))
            continue;
        bool decimal = strcmp(text + 1, "B") == 0;
        *ret_unit = decimal ? thousands : binary;
        return decimal || text[1] == '\0' || strcmp(text + 1, "iB") == 0 || strcmp(text + 1, "i") == 0 ? 0
                                                                                                       : ERR_INVALID;
    }
    return ERR_INVALID;
}

int parse_size(const char *text, uint64_t *ret_bytes) {
    CHECK(text != NULL && ret_bytes != NULL);
    uint64_t whole, thousandths, unit, bytes;
    if (take_number(&text, &whole) != 0 || take_fraction(&text, &thousandths) != 0 || size_unit(text, &unit) != 0)
        return ERR_INVALID;
    uint64_t part = unit / 1000 * thousandths + unit % 1000 * thousandths / 1000;
    if (__builtin_mul_overflow(whole, unit, &bytes) || __builtin_add_overflow(bytes, part, &bytes))
        return ERR_INVALID;
    *ret_bytes = bytes;
    return 0;
}

static int take_duration_unit(const char **text, uint64_t *ret_ms) {
    static const struct {
        const char *name;
        uint64_t ms;
    } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}, {"w", 604800000}};
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        size_t size = strlen(units[i].name);
        if (strncmp(*text, units[i].name, size) == 0) {
            *text += size;
            *ret_ms = units[i].ms;
            return 0;
        }
    }
    return ERR_INVALID;
}

int parse_duration(const char *text, uint64_t *ret_ms) {
    CHECK(text != NULL && ret_ms != NULL);
    uint64_t total = 0;
    if (*text == '\0')
        return ERR_INVALID;
    while (*text != '\0') {
        uint64_t number, unit, ms;
        if (take_number(&text, &number) != 0 || take_duration_unit(&text, &unit) != 0)
            return ERR_INVALID;
        if (__builtin_mul_overflow(number, unit, &ms) || __builtin_add_overflow(total, ms, &total))
            return ERR_INVALID;
    }
    *ret_ms = total;
    return 0;
}

int parse_count(const char *text, uint64_t least, uint64_t most, uint64_t *ret_count) {
    CHECK(least <= most);
    uint64_t v;
    if (take_number(&text, &v) != 0 || *text != '\0' || v < least || v > most)
        return ERR_INVALID;
    *ret_count = v;
    return 0;
}

int parse_version(const char *text, uint8_t ret_version[VERSION_SIZE]) {
    CHECK(text != NULL);
    if (strlen(text) != HEX_SIZE(VERSION_SIZE) - 1)
        return ERR_INVALID;
    return hex_decode(text, VERSION_SIZE, ret_version);
}

int parse_base_name(const char *path, const char **ret_base) {
    CHECK(path != NULL);
    const char *slash = strrchr(path, '/');
    const char *base = slash != NULL ? slash + 1 : path;
    if (base[0] == '\0' || strcmp(base, ".") == 0 || strcmp(base, "..") == 0)
        return ERR_INVALID;
    *ret_base = base;
    return 0;
}
