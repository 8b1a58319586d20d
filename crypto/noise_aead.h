/* The cipher functions of Noise (revision 34, §4.2 and §12): one AEAD call with a 64-bit nonce. Private to this
 * folder: the handshake and the transport keys are built from it. */
#ifndef SHOAL_NOISE_AEAD_H
#define SHOAL_NOISE_AEAD_H

#include "noise.h"

/* The nonce that only REKEY may use (§4.2). */
#define NOISE_NONCE_REKEY UINT64_MAX

/* Associated data: authenticated, not sealed. */
struct noise_ad {
    const uint8_t *bytes;
    size_t size;
};

/* k->schedule from k->key, whenever that has changed. */
void noise_aead_schedule(struct noise_key *k);
/* Writes size + NOISE_TAG_SIZE bytes; out may be plain itself. */
void noise_aead_seal(const struct noise_key *k, struct noise_ad ad, const uint8_t *plain, size_t size, uint8_t *out);
/* Writes size - NOISE_TAG_SIZE bytes; out may be sealed itself. ERR_AUTH on a mismatch or a short message. */
int noise_aead_open(const struct noise_key *k, struct noise_ad ad, const uint8_t *sealed, size_t size, uint8_t *out);

#endif
