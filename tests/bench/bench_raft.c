/* How many entries three cores of one group agree on in a second of processor time, alone: no disk, no network, one
 * thread for all three.
 *
 * usage: bench_raft [--json] [--seconds N]
 *
 * So many proposals are kept in flight. In each turn every core takes what has arrived, its disk confirms what it was
 * given, and what is committed is applied; a log is cut when it has grown long. Messages go from core to core as they
 * are ("memory"), or as bytes: encoded in batches as nodes send them, and decoded again ("wire"). Each line is measured
 * for N seconds (2). */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "check.h"
#include "measure.h"
#include "peer.h"
#include "raft.h"

#define ELECTION_MS 1000
#define CORES 3
#define IN_FLIGHT_MAX 256
#define ENTRY_MAX 4096
#define QUEUE_MAX 1024          /* messages to one core in one turn */
#define LETTERS_MAX (32u << 20) /* bytes to one core in one turn */
#define LOG_ENTRIES 1024        /* the log is cut when it is longer */
#define TURNS_A_LOOK 64         /* between looks at the clock */
#define NODE(id) ((uint32_t)(id))

/* A message and its entries, kept until it is delivered. */
struct letter {
    struct raft_message message;
    struct raft_entry *entries[RAFT_APPEND_ENTRIES_MAX];
};

struct core {
    uint64_t id;
    struct raft *raft;
    uint64_t persist_seq; /* not confirmed yet; 0: none */
    uint64_t commit, applied;
    /* what arrived, in one of two ways */
    struct letter *letters;
    size_t letter_count;
    struct buf frames;
    struct raft_batch batch;
    bool open; /* the batch */
};

struct world {
    struct core cores[CORES];
    struct core *leader;
    struct raft_update update;
    bool wire;
    uint64_t now_ms;
    uint64_t random;
    struct letter *taken; /* what a core is taking, while more arrives */
    struct buf taken_frames;
    uint8_t data[ENTRY_MAX];
};

/* ---- messages ---- */

static void letter_write(struct core *to, const struct raft_message *m) {
    CHECK(to->letter_count < QUEUE_MAX);
    CHECK(m->entry_count <= RAFT_APPEND_ENTRIES_MAX);
    struct letter *l = &to->letters[to->letter_count++];
    l->message = *m;
    for (uint32_t i = 0; i < m->entry_count; i++) {
        l->entries[i] = raft_entry_ref(m->entries[i]);
    }
}

static void frame_write(struct core *to, const struct raft_message *m) {
    for (int attempt = 0; attempt < 2; attempt++) {
        if (!to->open) {
            peer_raft_begin(&to->batch, &to->frames);
            to->open = true;
        }
        if (peer_raft_add(&to->batch, 1, m)) {
            return;
        }
        peer_raft_end(&to->batch);
        to->open = false;
    }
    CHECK(false); /* one message always fits */
}

static void core_step(struct world *w, struct core *c, struct raft_event event) {
    event.now_ms = w->now_ms;
    event.random = measure_scatter(w->random++);
    int status = raft_step(c->raft, &event, &w->update);
    const struct raft_update *u = &w->update;
    CHECK(status == 0);
    c->persist_seq = u->persist_seq ? u->persist_seq : c->persist_seq;
    c->commit = u->commit;
    for (uint32_t i = 0; i < u->message_count; i++) {
        const struct raft_message *m = &u->messages[i];
        struct core *to = &w->cores[m->to - 1];
        if (w->wire) {
            frame_write(to, m);
        } else {
            letter_write(to, m);
        }
    }
}

static void take_letters(struct world *w, struct core *c) {
    size_t count = c->letter_count;
    struct letter *letters = c->letters;
    c->letters = w->taken;
    c->letter_count = 0;
    w->taken = letters;
    for (size_t i = 0; i < count; i++) {
        struct letter *l = &letters[i];
        l->message.entries = l->entries;
        l->message.from_node = NODE(l->message.from);
        core_step(w, c, (struct raft_event){.kind = RAFT_EV_MESSAGE, .message = &l->message});
        for (uint32_t k = 0; k < l->message.entry_count; k++) {
            raft_entry_unref(l->entries[k]);
        }
    }
}

/* Frames are what a length of 4 bytes says. */
static void take_frames(struct world *w, struct core *c) {
    if (c->open) {
        peer_raft_end(&c->batch);
        c->open = false;
    }
    struct buf frames = c->frames;
    CHECK(frames.error == 0);
    c->frames = w->taken_frames;
    for (size_t at = 0; at < frames.size;) {
        struct raft_batch_reader *reader;
        struct raft_message *m;
        uint32_t group;
        size_t size = get_u32(frames.bytes + at);
        CHECK(raft_batch_open(frames.bytes + at + 4, size, &reader) == 0);
        while (raft_batch_next(reader, &group, &m) == 0) {
            m->from_node = NODE(m->from);
            core_step(w, c, (struct raft_event){.kind = RAFT_EV_MESSAGE, .message = m});
        }
        raft_batch_close(reader);
        at += 4 + size;
    }
    buf_clear(&frames);
    w->taken_frames = frames;
}

/* ---- turns ---- */

static uint64_t applied_by_all(const struct world *w) {
    uint64_t least = UINT64_MAX;
    for (size_t i = 0; i < CORES; i++) {
        least = w->cores[i].applied < least ? w->cores[i].applied : least;
    }
    return least;
}

static void core_turn(struct world *w, struct core *c) {
    uint64_t base, term;
    const struct raft_config *config;
    if (w->wire) {
        take_frames(w, c);
    } else {
        take_letters(w, c);
    }
    while (c->persist_seq != 0) {
        uint64_t seq = c->persist_seq;
        c->persist_seq = 0;
        core_step(w, c, (struct raft_event){.kind = RAFT_EV_PERSISTED, .seq = seq});
    }
    if (c->commit > c->applied) {
        c->applied = c->commit;
        core_step(w, c, (struct raft_event){.kind = RAFT_EV_APPLIED, .index = c->applied});
    }
    raft_base(c->raft, &base, &term, &config);
    uint64_t cut = applied_by_all(w);
    if (cut > base + LOG_ENTRIES) {
        core_step(w, c, (struct raft_event){.kind = RAFT_EV_COMPACT, .index = cut});
    }
}

static void turn(struct world *w) {
    for (size_t i = 0; i < CORES; i++) {
        core_turn(w, &w->cores[i]);
    }
}

/* ---- a world ---- */

static void core_open(struct core *c, uint64_t id, const struct raft_config *config) {
    const struct raft_start start = {
        .self = id,
        .timing = {.heartbeat_ms = 100, .election_min_ms = ELECTION_MS, .election_max_ms = 2 * ELECTION_MS},
        .hard = {.term = 1},
        .base_index = config->index,
        .base_term = 1,
        .base_config = config,
        .applied = config->index,
        .random = id,
    };
    c->id = id;
    c->commit = c->applied = config->index;
    c->letters = calloc(QUEUE_MAX, sizeof(*c->letters));
    buf_init(&c->frames, LETTERS_MAX);
    CHECK(c->letters && raft_new(&start, &c->raft) == 0);
}

static void world_open(struct world *w, bool wire) {
    struct raft_config config = {.index = 1, .next_id = CORES + 1, .count = CORES};
    struct raft_status status;
    memset(w, 0, sizeof(*w));
    w->wire = wire;
    w->taken = calloc(QUEUE_MAX, sizeof(*w->taken));
    CHECK(w->taken);
    buf_init(&w->taken_frames, LETTERS_MAX);
    for (uint32_t i = 0; i < CORES; i++) {
        config.replicas[i] = (struct raft_replica){.id = i + 1, .node = NODE(i + 1), .flags = RAFT_VOTER};
    }
    for (uint32_t i = 0; i < CORES; i++) {
        core_open(&w->cores[i], i + 1, &config);
    }
    w->leader = &w->cores[0];
    w->now_ms = 2 * ELECTION_MS; /* who has just started may have promised another leader to wait so long */
    core_step(w, w->leader, (struct raft_event){.kind = RAFT_EV_CAMPAIGN});
    for (int i = 0; i < 16; i++) {
        turn(w);
    }
    raft_status(w->leader->raft, &status);
    CHECK(status.role == RAFT_LEADER && status.own_term_committed);
}

static void world_close(struct world *w) {
    for (size_t i = 0; i < CORES; i++) {
        struct core *c = &w->cores[i];
        for (size_t k = 0; k < c->letter_count; k++) {
            for (uint32_t e = 0; e < c->letters[k].message.entry_count; e++) {
                raft_entry_unref(c->letters[k].entries[e]);
            }
        }
        raft_free(c->raft);
        buf_release(&c->frames);
        free(c->letters);
    }
    free(w->taken);
    buf_release(&w->taken_frames);
}

static double entries_per_second(struct world *w, unsigned in_flight, size_t size, double seconds) {
    uint64_t begin = w->leader->commit;
    uint64_t last = begin;
    double start = measure_cpu();
    double elapsed = 0;
    while (elapsed < seconds) {
        for (int i = 0; i < TURNS_A_LOOK; i++) {
            while (last - w->leader->commit < in_flight) {
                core_step(w, w->leader, (struct raft_event){.kind = RAFT_EV_PROPOSE, .propose = {w->data, size}});
                last = w->update.ret_index;
            }
            turn(w);
        }
        elapsed = measure_cpu() - start;
    }
    return (double)(w->leader->commit - begin) / elapsed;
}

static int usage(void) {
    (void)fprintf(stderr, "usage: bench_raft [--json] [--seconds N]\n");
    return 2;
}

int main(int argc, char **argv) {
    static const unsigned in_flight[] = {1, 16, IN_FLIGHT_MAX};
    static const size_t sizes[] = {100, ENTRY_MAX};
    bool json = false;
    double seconds = 2;
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
    struct world *w = calloc(1, sizeof(*w));
    CHECK(w);
    for (int i = 0; i < 12; i++) {
        bool wire = i / 6 == 1;
        struct measure m = {
            .what = "raft", .how = wire ? "wire" : "memory", .group = in_flight[i % 3], .size = sizes[i / 3 % 2]};
        world_open(w, wire);
        m.operations = entries_per_second(w, m.group, m.size, seconds);
        world_close(w);
        measure_print(&m, json);
    }
    free(w);
    return 0;
}
