/* The history: what an outside checker of linearizability needs to know of each operation. */
#include <inttypes.h>
#include <string.h>

#include "bench_internal.h"
#include "check.h"
#include "digest.h"

/* The digest of the file with this stamp, quoted. */
static void value_text(const struct bench *b, const uint8_t stamp[BENCH_STAMP_SIZE], char out[]) {
    struct digest d;
    memcpy(b->content, stamp, BENCH_STAMP_SIZE);
    digest_of(b->content, b->params->size, &d);
    out[0] = '"';
    hex_encode(d.bytes, sizeof d.bytes, out + 1);
    memcpy(out + HEX_SIZE(DIGEST_SIZE), "\"", 2);
}

void bench_history_write(const struct bench *b, const struct bench_client *c, const char *result) {
    FILE *out = b->params->history;
    char value[HEX_SIZE(DIGEST_SIZE) + 2] = "null";
    CHECK(out != NULL);
    if (c->writes || strcmp(result, "ok") == 0)
        value_text(b, c->stamp, value);
    fprintf(out, "{\"client\":%" PRIu64 ",\"op\":\"%s\",\"key\":\"%s%0*" PRIu32 "\",\"value\":%s,\"call\":%" PRIu64,
            c->number, c->writes ? "write" : "read", b->result->prefix, BENCH_DIGITS, c->key, value, c->call_ns);
    if (strcmp(result, "unknown") == 0)
        fprintf(out, ",\"return\":null,\"result\":\"unknown\"}\n");
    else
        fprintf(out, ",\"return\":%" PRIu64 ",\"result\":\"%s\"}\n", b->now_ns, result);
}
