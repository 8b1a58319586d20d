/* One removal of references, asked of the group that holds them. */
#include <stdlib.h>

#include "internal.h"

static void nobody_waits(void *ctx, int status, const struct raft_config *config, const uint8_t *result, size_t size) {
    (void)ctx;
    (void)status;
    (void)config;
    (void)result;
    (void)size;
}

void files_ref_del(struct files *f, uint32_t group, const struct version *version, const struct digest *digests,
                   size_t count, uint64_t timeout_ms, groups_cb *cb, void *ctx) {
    struct command c = {.kind = COMMAND_REF_DEL};
    struct buf b;
    CHECK(group != GROUPS_ROOT);
    CHECK(count > 0 && count <= COMMAND_CHUNKS_MAX);
    struct chunk_ref *chunks = calloc(count, sizeof(*chunks));
    CHECK(chunks);
    for (size_t i = 0; i < count; i++) {
        chunks[i].digest = digests[i];
    }
    c.u.refs.version = *version;
    c.u.refs.chunk_count = (uint32_t)count;
    c.u.refs.chunks = chunks;
    buf_init(&b, PEER_BODY_MAX);
    command_encode(&c, &b);
    groups_propose(f->params.groups, group, &b, timeout_ms, cb ? cb : nobody_waits, ctx);
    buf_release(&b);
    free(chunks);
}
