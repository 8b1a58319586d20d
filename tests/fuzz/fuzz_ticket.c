/* Any text to the ticket decoder; and any bytes behind a valid checksum, which a fuzzer would never find. What
 * decodes must encode to the same text. */
#include <sodium.h>
#include <string.h>

#include "check.h"
#include "digest.h"
#include "identity.h"
#include "ticket.h"

#define BODY_MAX 1200
#define CHECKSUM_SIZE 4

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int decode(const char *text, size_t size, char canonical[TICKET_TEXT_MAX]) {
    struct ticket t;
    int rc = ticket_decode(text, size, &t);
    if (rc == 0) {
        CHECK(ticket_encode(&t, canonical, TICKET_TEXT_MAX) == 0);
    }
    return rc;
}

static void decode_behind_checksum(const uint8_t *body, size_t size) {
    uint8_t whole[BODY_MAX + CHECKSUM_SIZE];
    char text[TICKET_TEXT_MAX] = "shoal1";
    char canonical[TICKET_TEXT_MAX];
    struct digest sum;
    memcpy(whole, body, size);
    digest_of(body, size, &sum);
    memcpy(whole + size, sum.bytes, CHECKSUM_SIZE);
    sodium_bin2base64(text + 6, sizeof text - 6, whole, size + CHECKSUM_SIZE, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    if (decode(text, strlen(text), canonical) == 0) {
        CHECK(strcmp(text, canonical) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    CHECK(crypto_init() == 0);
    char canonical[TICKET_TEXT_MAX];
    if (size > 0) {
        (void)decode((const char *)data, size, canonical);
    }
    if (size > 0 && size <= BODY_MAX) {
        decode_behind_checksum(data, size);
    }
    return 0;
}
