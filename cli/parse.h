/* What people type: sizes, durations, numbers, versions. All return 0 or ERR_INVALID and leave the output untouched
 * on failure. Nothing but the value may be in the text. */
#ifndef SHOAL_PARSE_H
#define SHOAL_PARSE_H

#include <stddef.h>
#include <stdint.h>

#define VERSION_SIZE 16

/* "4096", "500MB" (powers of 1000), "10GiB" or "10G" (powers of 1024), up to three decimals: "1.5TiB". Bytes. */
int parse_size(const char *text, uint64_t *ret_bytes);
/* "30s", "30m", "1h", "7d", and sums like "1h30m". Milliseconds. A bare number is refused: of what? */
int parse_duration(const char *text, uint64_t *ret_ms);
/* A decimal number from least to most. */
int parse_count(const char *text, uint64_t least, uint64_t most, uint64_t *ret_count);
/* 32 hex digits, as `shoal stat` shows them. */
int parse_version(const char *text, uint8_t ret_version[VERSION_SIZE]);
/* What follows the last slash of a path; ERR_INVALID when that is nothing, "." or "..". */
int parse_base_name(const char *path, const char **ret_base);

#endif
