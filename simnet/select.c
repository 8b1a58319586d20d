#include "select.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

void selection_release(struct selection *s) {
    free(s->ranges);
    *s = (struct selection){0};
}

void selection_copy(const struct selection *from, struct selection *out) {
    *out = (struct selection){.only = from->only};
    for (uint32_t i = 0; i < from->count; i++) {
        CHECK(selection_add(out, from->ranges[i].first, from->ranges[i].last));
    }
}

bool selected(const struct selection *s, uint32_t number) {
    uint32_t low = 0, high = s->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (s->ranges[middle].last < number) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    bool listed = low < s->count && s->ranges[low].first <= number;
    return listed == s->only;
}

bool selection_add(struct selection *s, uint32_t first, uint32_t last) {
    CHECK(first <= last);
    CHECK(s->count == 0 || s->ranges[s->count - 1].last < first);
    if (s->count > 0 && s->ranges[s->count - 1].last + 1 == first) {
        s->ranges[s->count - 1].last = last;
        return true;
    }
    if (s->count == SELECT_RANGES_MAX) {
        return false;
    }
    if (s->count == s->capacity) {
        s->capacity = s->capacity == 0 ? 16 : 2 * s->capacity;
        s->ranges = realloc(s->ranges, s->capacity * sizeof(*s->ranges));
        CHECK(s->ranges != NULL);
    }
    s->ranges[s->count++] = (struct select_range){first, last};
    return true;
}

/* Reads a number at *at, and moves there behind it. */
static bool read_number(const char **at, const char *end, uint32_t *out) {
    uint64_t value = 0;
    const char *start = *at;
    while (*at < end && **at >= '0' && **at <= '9' && value <= UINT32_MAX) {
        value = 10 * value + (uint64_t)(**at - '0');
        (*at)++;
    }
    *out = (uint32_t)value;
    return *at > start && value < UINT32_MAX;
}

static bool read_range(struct selection *s, const char **at, const char *end) {
    uint32_t first = 0, last = 0;
    if (!read_number(at, end, &first)) {
        return false;
    }
    last = first;
    if (*at < end && **at == '-') {
        (*at)++;
        if (!read_number(at, end, &last)) {
            return false;
        }
    }
    bool ascending = first <= last && (s->count == 0 || s->ranges[s->count - 1].last < first);
    return ascending && selection_add(s, first, last);
}

bool selection_parse(struct selection *s, const char *text, size_t size) {
    const char *at = text, *end = text + size;
    if (size == 4 && memcmp(text, "none", 4) == 0) {
        return true;
    }
    while (read_range(s, &at, end)) {
        if (at == end) {
            return true;
        }
        if (*at++ != ',') {
            return false;
        }
    }
    return false;
}

size_t selection_format(const struct selection *s, char *out, size_t out_size) {
    size_t size = 0;
    if (s->count == 0) {
        return (size_t)snprintf(out, out_size, "none");
    }
    for (uint32_t i = 0; i < s->count; i++) {
        const struct select_range *r = &s->ranges[i];
        char word[32];
        int part = r->first == r->last
                       ? snprintf(word, sizeof(word), "%s%" PRIu32, i > 0 ? "," : "", r->first)
                       : snprintf(word, sizeof(word), "%s%" PRIu32 "-%" PRIu32, i > 0 ? "," : "", r->first, r->last);
        if (size < out_size) {
            snprintf(out + size, out_size - size, "%s", word);
        }
        size += (size_t)part;
    }
    return size;
}
