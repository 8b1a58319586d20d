/* How fast one core seals records and opens them again, with each cipher of a session.
 *
 * usage: bench_session [--json] [--seconds N]
 *
 * A batch of records is sealed into a buffer, then the other end of the session opens it. Each pair of lines is
 * measured for N seconds (1) of processor time. The ratio is to ChaChaPoly with records of the same size. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "measure.h"
#include "session.h"

#define WIRE_MAX (128 * 1024)
#define BATCH_BYTES (64 * 1024) /* between two looks at the clock */
#define SIZES 3

struct end {
    struct session *session;
    uint8_t wire[WIRE_MAX]; /* what it sent */
    size_t wire_size;
    size_t plain_size;
};

struct speed {
    double sealed, opened; /* records a second */
};

static int on_network(void *ctx, size_t size, uint8_t **ret_room) {
    struct end *e = ctx;
    CHECK(size <= WIRE_MAX - e->wire_size);
    *ret_room = e->wire + e->wire_size;
    e->wire_size += size;
    return 0;
}

static int on_plain(void *ctx, const uint8_t *bytes, size_t size) {
    struct end *e = ctx;
    (void)bytes;
    e->plain_size += size;
    return 0;
}

static struct end *end_new(bool initiator, bool aesgcm) {
    struct identity self;
    const uint8_t seed[IDENTITY_SEED_SIZE] = {initiator ? 1 : 2};
    struct end *e = calloc(1, sizeof *e);
    CHECK(e != NULL && identity_from_seed(seed, &self) == 0);
    const struct session_params params = {
        .initiator = initiator, .aesgcm = aesgcm, .self = &self, .ephemeral_secret = {initiator ? 3 : 4}};
    CHECK(session_new(&params, &e->session) == 0);
    CHECK(session_start(e->session, on_network, e) == 0);
    return e;
}

static void end_free(struct end *e) {
    session_free(e->session);
    free(e);
}

static void carry(struct end *from, struct end *to) {
    const struct session_callbacks callbacks = {on_network, on_plain, NULL, to};
    CHECK(session_receive(to->session, from->wire, from->wire_size, &callbacks) == 0);
    from->wire_size = 0;
}

static struct speed run(struct end *from, struct end *to, size_t size, double seconds) {
    static const uint8_t plain[BATCH_BYTES];
    double sealing = 0, opening = 0;
    uint64_t records = 0;
    size_t batch = BATCH_BYTES / size;
    to->plain_size = 0;
    while (sealing + opening < seconds) {
        double start = measure_cpu();
        for (size_t i = 0; i < batch; i++) {
            CHECK(session_send(from->session, plain, size, on_network, from) == 0);
        }
        double middle = measure_cpu();
        carry(from, to);
        opening += measure_cpu() - middle;
        sealing += middle - start;
        records += batch;
    }
    CHECK(to->plain_size == records * size);
    return (struct speed){(double)records / sealing, (double)records / opening};
}

static void print(const struct measure *line, struct speed speed, const struct speed *baseline, bool json) {
    struct measure seal = *line, open = *line;
    seal.what = "seal";
    seal.operations = speed.sealed;
    open.what = "open";
    open.operations = speed.opened;
    if (baseline != NULL) {
        seal.ratio = speed.sealed / baseline->sealed;
        open.ratio = speed.opened / baseline->opened;
    }
    measure_print(&seal, json);
    measure_print(&open, json);
}

static void run_cipher(bool aesgcm, struct speed speeds[SIZES], double seconds, bool json) {
    static const size_t sizes[SIZES] = {256, 4096, SESSION_PLAIN_MAX};
    struct end *initiator = end_new(true, aesgcm), *responder = end_new(false, aesgcm);
    carry(initiator, responder);
    carry(responder, initiator);
    carry(initiator, responder);
    CHECK(session_cipher(initiator->session) == (aesgcm ? NOISE_AESGCM : NOISE_CHACHAPOLY));
    for (size_t i = 0; i < SIZES; i++) {
        const struct measure line = {
            .how = aesgcm ? "AESGCM" : "ChaChaPoly", .group = (unsigned)(BATCH_BYTES / sizes[i]), .size = sizes[i]};
        struct speed speed = run(initiator, responder, sizes[i], seconds);
        print(&line, speed, aesgcm ? &speeds[i] : NULL, json);
        speeds[i] = speed;
    }
    end_free(initiator);
    end_free(responder);
}

static int usage(void) {
    (void)fprintf(stderr, "usage: bench_session [--json] [--seconds N]\n");
    return 2;
}

int main(int argc, char **argv) {
    bool json = false;
    double seconds = 1;
    for (int at = 1; at < argc; at++) {
        if (strcmp(argv[at], "--json") == 0) {
            json = true;
        } else if (strcmp(argv[at], "--seconds") == 0 && at + 1 < argc) {
            seconds = strtod(argv[++at], NULL);
        } else {
            return usage();
        }
    }
    if (!(seconds > 0 && seconds <= 3600)) {
        return usage();
    }
    CHECK(crypto_init() == 0);
    struct speed speeds[SIZES];
    run_cipher(false, speeds, seconds, json);
    if (noise_aesgcm_available()) {
        run_cipher(true, speeds, seconds, json);
    }
    return 0;
}
