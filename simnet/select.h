/* Which of the numbered things of a run happen: sets of numbers, written like pages of a book, "1-5,9". */
#ifndef SHOAL_SELECT_H
#define SHOAL_SELECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SELECT_RANGES_MAX 65536

struct select_range {
    uint32_t first, last;
};

/* All zero: everything happens. */
struct selection {
    bool only;                   /* the listed ones; otherwise all but the listed ones */
    struct select_range *ranges; /* ascending, with gaps between them */
    uint32_t count, capacity;
};

void selection_release(struct selection *s);
void selection_copy(const struct selection *from, struct selection *out);
bool selected(const struct selection *s, uint32_t number);
/* Lists first..last, which must lie above everything that is listed. False when there are too many ranges. */
bool selection_add(struct selection *s, uint32_t first, uint32_t last);
/* Lists what the text says: numbers and ranges of them, ascending, separated by commas; "none". False when the text
 * says anything else. */
bool selection_parse(struct selection *s, const char *text, size_t size);
/* The same as text, as long a prefix of it as fits; what snprintf would return. */
size_t selection_format(const struct selection *s, char *out, size_t out_size);

#endif
