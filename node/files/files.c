/* The parts of the files folder, and the way of events to them. */
#include <stdlib.h>

#include "internal.h"

uint32_t files_page_rows(const struct files *f, uint32_t room) {
    uint32_t rows = f->params.tuning.page_rows;
    CHECK(rows > 0 && rows <= FILES_PAGE_MAX);
    return rows < room ? rows : room;
}

int files_new(const struct files_params *params, struct files **ret_files) {
    struct files *f = calloc(1, sizeof(*f));
    if (!f) {
        return ERR_NOMEM;
    }
    f->params = *params;
    TAILQ_INIT(&f->puts);
    TAILQ_INIT(&f->gets);
    TAILQ_INIT(&f->put_chunks);
    TAILQ_INIT(&f->arrivals);
    TAILQ_INIT(&f->fetches);
    TAILQ_INIT(&f->smalls);
    TAILQ_INIT(&f->lists);
    TAILQ_INIT(&f->incoming);
    int rc = repair_new(f);
    rc = rc ? rc : outbox_new(f);
    rc = rc ? rc : settle_new(f);
    rc = rc ? rc : sweep_new(f);
    if (rc) {
        files_free(f);
        return rc;
    }
    *ret_files = f;
    return 0;
}

void files_free(struct files *f) {
    if (!f) {
        return;
    }
    repair_free(f);
    outbox_free(f);
    settle_free(f);
    sweep_free(f);
    put_release(f);
    get_release(f);
    list_release(f);
    small_release(f);
    store_chunk_release(f);
    serve_chunk_release(f);
    fetch_release(f);
    free(f);
}

void files_start(struct files *f) {
    f->running = true;
    repair_start(f);
    settle_start(f);
    sweep_start(f);
}

void files_stop(struct files *f) {
    f->stopped = true;
    repair_stop(f);
    outbox_stop(f);
    settle_stop(f);
    sweep_stop(f);
}

void files_applied(void *files, uint32_t group, uint64_t index, const struct machine_effect *effects, size_t count) {
    struct files *f = files;
    for (size_t i = 0; i < count; i++) {
        switch (effects[i].kind) {
        case EFFECT_REF_ADDED:
            store_chunk_effect(f, &effects[i]);
            repair_referenced(f, group, index, &effects[i].digest);
            break;
        case EFFECT_CHUNK_DROPPED:
            store_chunk_drop(f, &effects[i].digest);
            break;
        case EFFECT_OUTBOX:
            outbox_due(f, group);
            break;
        case EFFECT_ROOT:
            break;
        }
    }
}

void files_installed(void *files, uint32_t group, uint64_t index) {
    repair_installed(files, group, index);
}

void files_removed(void *files, uint32_t group) {
    repair_removed(files, group);
}

void files_leader(void *files, uint32_t group, bool leading) {
    if (group == GROUPS_ROOT) {
        return;
    }
    if (leading) {
        outbox_due(files, group);
    } else {
        outbox_lost(files, group);
    }
}

bool files_complete(void *files, uint32_t group, uint64_t index) {
    return repair_complete(files, group, index);
}

void files_request(struct files *f, struct peers_call *call, enum peer_op op, const uint8_t *body, size_t size) {
    if (!f->running || f->stopped) {
        peers_reply(call, ERR_BUSY, NULL, 0);
    } else if (op == OP_CHUNK_PUT) {
        serve_chunk_put(f, call, body, size);
    } else {
        CHECK(op == OP_CHUNK_GET);
        serve_chunk_get(f, call, body, size);
    }
}

void files_info(const struct files *f, struct files_info *out) {
    *out = (struct files_info){.outbox_pending = outbox_pending(f)};
    repair_info(f, &out->pulls_pending, &out->audits_pending);
}
