#include "format.h"

#include <time.h>

#include "check.h"

void format_size(uint64_t bytes, char out[FORMAT_SIZE_MAX]) {
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double v = (double)bytes;
    size_t unit = 0;
    /* 1023.95 would be shown as 1024.0. */
    while (v >= 1023.95 && unit + 1 < sizeof units / sizeof units[0]) {
        v /= 1024;
        unit++;
    }
    int size = snprintf(out, FORMAT_SIZE_MAX, unit == 0 ? "%.0f %s" : "%.1f %s", v, units[unit]);
    CHECK(size > 0 && size < FORMAT_SIZE_MAX);
}

void format_time(uint64_t ms_since_1970, char out[FORMAT_TIME_MAX]) {
    struct tm tm;
    time_t seconds = (time_t)(ms_since_1970 / 1000);
    snprintf(out, FORMAT_TIME_MAX, "-");
    if (gmtime_r(&seconds, &tm) == NULL || tm.tm_year > 9999 - 1900)
        return;
    CHECK(strftime(out, FORMAT_TIME_MAX, "%Y-%m-%dT%H:%M:%SZ", &tm) > 0);
}

void format_json(FILE *out, const char *text, size_t size) {
    CHECK(text != NULL || size == 0);
    putc('"', out);
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '"' || c == '\\')
            fprintf(out, "\\%c", c);
        else if (c < 0x20 || c == 0x7f)
            fprintf(out, "\\u%04x", c);
        else
            putc(c, out);
    }
    putc('"', out);
}

void format_json_pair(FILE *out, const char *name, const char *text, size_t size) {
    fprintf(out, "\"%s\":", name);
    format_json(out, text, size);
}
