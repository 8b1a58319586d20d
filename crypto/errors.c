#include "errors.h"

#include <stddef.h>

struct err_row {
    int code;
    const char *name;
    const char *sentence;
};

#define ERR_ROW(code, name, sentence) {(code), #name, sentence},
static const struct err_row rows[] = {{ERR_NONE, "NONE", "ok"}, ERR_TABLE(ERR_ROW)};
#undef ERR_ROW

static const struct err_row *row_of(int code) {
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (rows[i].code == code) {
            return &rows[i];
        }
    }
    return NULL;
}

const char *err_text(int code) {
    const struct err_row *row = row_of(code);
    return row ? row->sentence : "unknown error";
}

const char *err_name(int code) {
    const struct err_row *row = row_of(code);
    return row ? row->name : "UNKNOWN";
}

int err_known(int code) {
    return row_of(code) != NULL;
}
