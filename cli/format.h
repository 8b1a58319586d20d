/* What people and programs read: sizes, times, JSON. */
#ifndef SHOAL_FORMAT_H
#define SHOAL_FORMAT_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define FORMAT_SIZE_MAX 16
#define FORMAT_TIME_MAX 32

/* "17 B", "1.5 GiB" */
void format_size(uint64_t bytes, char out[FORMAT_SIZE_MAX]);
/* RFC 3339, UTC, whole seconds: "2026-01-31T12:00:00Z"; "-" for a time no calendar holds. */
void format_time(uint64_t ms_since_1970, char out[FORMAT_TIME_MAX]);
/* A JSON string with its quotes (RFC 8259 §7). The text is UTF-8. */
void format_json(FILE *out, const char *text, size_t size);
/* A pair in a JSON object: "name":"text". */
void format_json_pair(FILE *out, const char *name, const char *text, size_t size);

#endif
