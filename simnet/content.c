#include "content.h"

#include <string.h>

#include "check.h"
#include "prng.h"

#define WORD sizeof(uint64_t)

static uint64_t word_at(uint64_t number, uint64_t index) {
    return index == 0 ? number : prng_mix(number + index * 0xd1342543de82ef95u);
}

void content_fill(uint64_t number, uint64_t offset, uint8_t *out, size_t size) {
    CHECK(out != NULL || size == 0);
    while (size > 0) {
        uint64_t word = word_at(number, offset / WORD);
        size_t skip = offset % WORD;
        size_t part = WORD - skip < size ? WORD - skip : size;
        memcpy(out, (const uint8_t *)&word + skip, part);
        out += part;
        offset += part;
        size -= part;
    }
}

uint64_t content_identity(uint64_t number, uint64_t size) {
    uint64_t shown = 0;
    memcpy(&shown, &number, size < WORD ? size : WORD);
    uint64_t identity = prng_mix(shown ^ prng_mix(size));
    return identity == 0 ? 1 : identity;
}

void content_reader_init(struct content_reader *r, uint64_t size) {
    *r = (struct content_reader){.size = size};
    CHECK(r->got == 0);
}

void content_reader_add(struct content_reader *r, const uint8_t *bytes, size_t size) {
    uint8_t expected[4096];
    while (size > 0 && r->got < WORD) {
        ((uint8_t *)&r->number)[r->got++] = *bytes++;
        size--;
    }
    while (size > 0) {
        size_t part = size < sizeof(expected) ? size : sizeof(expected);
        content_fill(r->number, r->got, expected, part);
        if (!r->torn && memcmp(expected, bytes, part) != 0) {
            r->torn = true;
            r->torn_at = r->got;
        }
        r->got += part;
        bytes += part;
        size -= part;
    }
    r->torn = r->torn || r->got > r->size;
}

uint64_t content_reader_finish(struct content_reader *r) {
    r->torn = r->torn || r->got != r->size;
    return content_identity(r->number, r->size);
}
