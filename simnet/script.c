#include "script.h"

#include <stdarg.h>
#include <stdio.h>

#define LINE_SIZE 320

static void fail(struct script *s, enum run_checker checker, const char *before, const char *format, va_list args) {
    char text[RUN_REASON_SIZE];
    if (s->failed) {
        return;
    }
    vsnprintf(text, sizeof(text), format, args);
    snprintf(s->result->reason, sizeof(s->result->reason), "%s%.200s", before, text);
    s->result->checker = checker;
    s->failed = true;
    script_tell(s, "FAIL: %s", s->result->reason);
}

void script_fail(struct script *s, enum run_checker checker, const char *format, ...) {
    va_list args;
    va_start(args, format);
    fail(s, checker, "", format, args);
    va_end(args);
}

void script_expect(struct script *s, bool holds, const char *format, ...) {
    va_list args;
    va_start(args, format);
    if (!holds) {
        fail(s, RUN_SCENARIO, "", format, args);
    }
    va_end(args);
}

void script_arose(struct script *s, bool arose, const char *format, ...) {
    va_list args;
    va_start(args, format);
    if (!arose) {
        fail(s, RUN_SITUATION, "the situation did not arise: ", format, args);
    }
    va_end(args);
}

void script_tell(struct script *s, const char *format, ...) {
    char line[LINE_SIZE];
    va_list args;
    if (s->tell == NULL) {
        return;
    }
    va_start(args, format);
    vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    s->tell(s->tell_ctx, s->now_us != NULL ? s->now_us(s->now_ctx) : 0, line);
}
