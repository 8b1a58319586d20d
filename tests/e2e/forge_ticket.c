/* forge_ticket secret|id|swarm|inviter|expires: reads a ticket, changes one field of it, and prints a well-formed
 * ticket again: what somebody could make who knows the format but was never invited. */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "identity.h"
#include "ticket.h"

#define HOUR_MS 3600000

static bool forge(struct ticket *t, const char *field) {
    if (strcmp(field, "secret") == 0)
        t->secret[0] ^= 1;
    else if (strcmp(field, "id") == 0)
        t->id[0] ^= 1;
    else if (strcmp(field, "swarm") == 0)
        t->swarm[0] ^= 1;
    else if (strcmp(field, "expires") == 0)
        t->expires_ms += HOUR_MS;
    else if (strcmp(field, "inviter") == 0) {
        /* A valid key, but nobody's. */
        struct identity nobody;
        uint8_t seed[IDENTITY_SEED_SIZE] = {1};
        if (identity_from_seed(seed, &nobody) != 0)
            return false;
        memcpy(t->inviter, nobody.public_key, sizeof t->inviter);
    } else
        return false;
    return true;
}

int main(int argc, char **argv) {
    char text[TICKET_TEXT_MAX];
    struct ticket t;
    if (argc != 2 || crypto_init() != 0 || fgets(text, sizeof text, stdin) == NULL)
        return 2;
    if (ticket_decode(text, strlen(text), &t) != 0 || !forge(&t, argv[1]) || ticket_encode(&t, text, sizeof text) != 0)
        return 1;
    puts(text);
    return 0;
}
