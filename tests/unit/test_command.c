/* Commands, queries and results keep every field through their codecs, and a decoder survives anything. */
#include "machine_world.h"
#include "codec.h"

#define SEEDS 3000

static struct chunk_ref space[COMMAND_CHUNKS_MAX];

static struct chunk_ref two_chunks[2];

static void make_chunks(void) {
    two_chunks[0] = chunked(1);
    two_chunks[1] = chunked(2);
}

#define SAMPLES 13

static struct command sample(unsigned i) {
    struct command c = {.kind = COMMAND_MEMBER_SET};
    make_chunks();
    switch (i) {
    case 0:
        c = put_inline("photos/a.jpg", 3, "hello");
        c.u.put.condition = CONDITION_MATCH;
        c.u.put.match = versioned(2);
        break;
    case 1:
        c = put_chunks("a", 4, two_chunks, 2);
        c.u.put.condition = CONDITION_ABSENT;
        break;
    case 2:
        c = rm("b/c");
        c.u.rm.condition = CONDITION_MATCH;
        c.u.rm.match = versioned(9);
        break;
    case 3:
        c = refs(COMMAND_REF_ADD, 5, "x/y", two_chunks, 2);
        break;
    case 4:
        c = refs(COMMAND_REF_DEL, 5, "", two_chunks, 1);
        break;
    case 5:
        c = refs(COMMAND_REF_CONFIRM, 5, "", two_chunks, 2);
        break;
    case 6:
        c = of_version(COMMAND_OUTBOX_DONE, "x/y", 6);
        break;
    case 7:
        c = of_version(COMMAND_VERSION_SETTLE, "x/y", 7);
        break;
    case 8:
        c.kind = COMMAND_ROOT_INIT;
        c.u.init.settings = (struct swarm_settings){.swarm = {7}, .bits = 10, .replicas = 3};
        c.u.init.founder = member_numbered(1, MEMBER_UP);
        break;
    case 9:
        c.kind = COMMAND_TICKET_ADD;
        memset(c.u.ticket.id, 8, sizeof(c.u.ticket.id));
        c.u.ticket.verifier = chunked(8).digest;
        c.u.ticket.expires_ms = UINT64_MAX;
        c.u.ticket.uses = UINT32_MAX;
        break;
    case 10:
        c.kind = COMMAND_MEMBER_JOIN;
        memset(c.u.join.ticket, 9, sizeof(c.u.join.ticket));
        memset(c.u.join.handshake, 10, sizeof(c.u.join.handshake));
        c.u.join.proof = chunked(9).digest;
        c.u.join.row = member_numbered(5, MEMBER_UP);
        c.u.join.row.changed = 12;
        break;
    case 11:
        c.kind = COMMAND_MEMBER_STATE;
        c.u.state.node = UINT32_MAX;
        c.u.state.seen = UINT64_MAX;
        c.u.state.to = MEMBER_GONE;
        break;
    default:
        c.u.member = member_numbered(3, MEMBER_DRAINING);
        c.u.member.changed = 4;
        break;
    }
    c.client = i % 2 ? UINT64_MAX : 0;
    c.seq = 1000 * i;
    c.ack_below = 900 * i;
    return c;
}

static void encode(const struct command *c, struct buf *out) {
    buf_init(out, WORLD_BUF_MAX);
    command_encode(c, out);
    assert_int_equal(out->error, 0);
}

static void check_name(const struct name *a, const struct name *b) {
    assert_string_equal(a->bucket, b->bucket);
    assert_string_equal(a->key, b->key);
    assert_int_equal(a->bucket_size, b->bucket_size);
    assert_int_equal(a->key_size, b->key_size);
}

static void check_chunks(const struct chunk_ref *a, const struct chunk_ref *b, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        assert_memory_equal(a[i].digest.bytes, b[i].digest.bytes, DIGEST_SIZE);
        assert_int_equal(a[i].size, b[i].size);
    }
}

static void check_member(const struct member *a, const struct member *b) {
    assert_int_equal(a->node, b->node);
    assert_memory_equal(a->id, b->id, sizeof(a->id));
    assert_memory_equal(a->dh, b->dh, sizeof(a->dh));
    assert_int_equal(a->state, b->state);
    assert_true(a->capacity == b->capacity);
    assert_true(a->changed == b->changed);
    assert_string_equal(a->addr, b->addr);
    assert_string_equal(a->zone, b->zone);
}

static void check_put(const struct command *a, const struct command *b) {
    check_name(&a->u.put.name, &b->u.put.name);
    assert_true(same_version(a->u.put.version, b->u.put.version));
    assert_true(a->u.put.size == b->u.put.size);
    assert_int_equal(a->u.put.condition, b->u.put.condition);
    assert_true(same_version(a->u.put.match, b->u.put.match));
    assert_int_equal(a->u.put.is_inline, b->u.put.is_inline);
    assert_int_equal(a->u.put.chunk_count, b->u.put.chunk_count);
    if (a->u.put.is_inline) {
        assert_memory_equal(a->u.put.bytes, b->u.put.bytes, a->u.put.size);
    }
    check_chunks(a->u.put.chunks, b->u.put.chunks, a->u.put.chunk_count);
}

static void check_root(const struct command *a, const struct command *b) {
    if (a->kind == COMMAND_ROOT_INIT) {
        assert_memory_equal(&a->u.init.settings, &b->u.init.settings, sizeof(a->u.init.settings));
        check_member(&a->u.init.founder, &b->u.init.founder);
    } else if (a->kind == COMMAND_TICKET_ADD) {
        assert_memory_equal(a->u.ticket.id, b->u.ticket.id, sizeof(a->u.ticket.id));
        assert_true(same_digest(a->u.ticket.verifier, b->u.ticket.verifier));
        assert_true(a->u.ticket.expires_ms == b->u.ticket.expires_ms);
        assert_int_equal(a->u.ticket.uses, b->u.ticket.uses);
    } else if (a->kind == COMMAND_MEMBER_SET) {
        check_member(&a->u.member, &b->u.member);
    } else if (a->kind == COMMAND_MEMBER_STATE) {
        assert_int_equal(a->u.state.node, b->u.state.node);
        assert_true(a->u.state.seen == b->u.state.seen);
        assert_int_equal(a->u.state.to, b->u.state.to);
    } else {
        struct member asked = a->u.join.row;
        asked.node = 0;
        asked.state = MEMBER_JOINING;
        asked.changed = 0;
        assert_memory_equal(a->u.join.ticket, b->u.join.ticket, sizeof(a->u.join.ticket));
        assert_memory_equal(a->u.join.handshake, b->u.join.handshake, sizeof(a->u.join.handshake));
        assert_true(same_digest(a->u.join.proof, b->u.join.proof));
        check_member(&asked, &b->u.join.row);
    }
}

static void check_fields(const struct command *a, const struct command *b) {
    switch (a->kind) {
    case COMMAND_NAME_PUT:
        check_put(a, b);
        break;
    case COMMAND_NAME_RM:
        check_name(&a->u.rm.name, &b->u.rm.name);
        assert_int_equal(a->u.rm.condition, b->u.rm.condition);
        assert_true(same_version(a->u.rm.match, b->u.rm.match));
        break;
    case COMMAND_REF_ADD:
        check_name(&a->u.refs.name, &b->u.refs.name);
        assert_true(same_version(a->u.refs.version, b->u.refs.version));
        assert_int_equal(a->u.refs.chunk_count, b->u.refs.chunk_count);
        check_chunks(a->u.refs.chunks, b->u.refs.chunks, a->u.refs.chunk_count);
        break;
    case COMMAND_REF_DEL:
    case COMMAND_REF_CONFIRM:
        assert_true(same_version(a->u.refs.version, b->u.refs.version));
        assert_int_equal(a->u.refs.chunk_count, b->u.refs.chunk_count);
        check_chunks(a->u.refs.chunks, b->u.refs.chunks, a->u.refs.chunk_count);
        break;
    case COMMAND_OUTBOX_DONE:
    case COMMAND_VERSION_SETTLE:
        check_name(&a->u.version.name, &b->u.version.name);
        assert_true(same_version(a->u.version.version, b->u.version.version));
        break;
    default:
        check_root(a, b);
    }
}

static void test_round_trip(void **state) {
    (void)state;
    unsigned kinds = 0;
    for (unsigned i = 0; i < SAMPLES; i++) {
        struct command c = sample(i), back;
        struct buf b, again;
        encode(&c, &b);
        assert_int_equal(command_decode(b.bytes, b.size, space, &back), 0);
        assert_int_equal(back.kind, c.kind);
        assert_true(back.client == c.client && back.seq == c.seq && back.ack_below == c.ack_below);
        check_fields(&c, &back);
        encode(&back, &again);
        assert_int_equal(again.size, b.size);
        assert_memory_equal(again.bytes, b.bytes, b.size);
        kinds |= 1u << c.kind;
        buf_release(&b);
        buf_release(&again);
    }
    assert_int_equal(kinds, (1u << COMMAND_KINDS) - 1);
}

static void test_truncated(void **state) {
    (void)state;
    for (unsigned i = 0; i < SAMPLES; i++) {
        struct command c = sample(i), back = {.seq = 4711};
        struct buf b;
        encode(&c, &b);
        for (size_t size = 0; size < b.size; size++) {
            assert_int_equal(command_decode(b.bytes, size, space, &back), ERR_PROTOCOL);
        }
        buf_append(&b, "", 1);
        assert_int_equal(command_decode(b.bytes, b.size, space, &back), ERR_PROTOCOL);
        assert_int_equal(back.seq, 4711);
        buf_release(&b);
    }
}

static uint64_t next_random(uint64_t *seed) {
    *seed = *seed * 6364136223846793005ull + 1442695040888963407ull;
    return *seed >> 33;
}

/* Whatever decodes after damage is a command whose bytes are exactly these: equal commands have equal bytes. */
static void test_mutated(void **state) {
    (void)state;
    uint64_t seed = 1;
    unsigned decoded = 0;
    for (unsigned n = 0; n < SEEDS; n++) {
        struct command c = sample(n % SAMPLES), back;
        struct buf b, again;
        encode(&c, &b);
        b.bytes[next_random(&seed) % b.size] = (uint8_t)next_random(&seed);
        if (command_decode(b.bytes, b.size, space, &back) == 0) {
            decoded++;
            encode(&back, &again);
            assert_int_equal(again.size, b.size);
            assert_memory_equal(again.bytes, b.bytes, b.size);
            buf_release(&again);
        }
        buf_release(&b);
    }
    assert_in_range(decoded, 1, SEEDS - 1);
}

static void refused(const struct command *c) {
    struct buf b;
    struct command back;
    encode(c, &b);
    assert_int_equal(command_decode(b.bytes, b.size, space, &back), ERR_PROTOCOL);
    buf_release(&b);
}

static void test_put_without_version(void **state) {
    (void)state;
    struct command c = put_inline("a", 1, "x");
    c.u.put.version = (struct version){{0}};
    refused(&c);
}

static void test_sizes_that_do_not_add_up(void **state) {
    (void)state;
    make_chunks();
    struct command c = put_chunks("a", 1, two_chunks, 2);
    c.u.put.size++;
    refused(&c);
    c = put_chunks("a", 1, two_chunks, 0);
    refused(&c);
}

static void test_refs_without_chunks(void **state) {
    (void)state;
    struct command c = refs(COMMAND_REF_DEL, 1, "", NULL, 0);
    refused(&c);
}

static void test_rm_of_the_absent(void **state) {
    (void)state;
    struct command c = rm("a");
    c.u.rm.condition = CONDITION_ABSENT;
    refused(&c);
}

static void test_bad_names(void **state) {
    (void)state;
    struct command c = rm("a");
    c.u.rm.name.key[0] = '\n';
    refused(&c);
    c = rm("a");
    c.u.rm.name.key_size = 0;
    refused(&c);
    c = rm("a");
    c.u.rm.name.bucket[0] = 'D';
    refused(&c);
}

/* The full chunk list and the largest inline file fit; the counts of the next larger ones are refused unread. */
static void test_largest(void **state) {
    (void)state;
    static struct chunk_ref many[COMMAND_CHUNKS_MAX];
    static uint8_t bytes[INLINE_MAX];
    struct command back;
    struct buf b;
    for (uint32_t i = 0; i < COMMAND_CHUNKS_MAX; i++) {
        many[i] = chunked((uint8_t)i);
    }
    struct command c = put_chunks("a", 1, many, COMMAND_CHUNKS_MAX);
    encode(&c, &b);
    assert_int_equal(command_decode(b.bytes, b.size, space, &back), 0);
    assert_int_equal(back.u.put.chunk_count, COMMAND_CHUNKS_MAX);
    check_chunks(many, back.u.put.chunks, COMMAND_CHUNKS_MAX);
    buf_release(&b);
    c = put_inline("a", 1, "");
    c.u.put.bytes = bytes;
    c.u.put.size = sizeof(bytes);
    encode(&c, &b);
    assert_int_equal(command_decode(b.bytes, b.size, space, &back), 0);
    assert_int_equal(back.u.put.size, sizeof(bytes));
    buf_release(&b);
}

static void test_count_that_claims_too_much(void **state) {
    (void)state;
    struct buf b;
    struct command back;
    buf_init(&b, 4096);
    cbor_put_array(&b, 6);
    cbor_put_uint(&b, COMMAND_REF_DEL);
    for (int i = 0; i < 3; i++) {
        cbor_put_uint(&b, 0);
    }
    cbor_put_bytes(&b, versioned(1).bytes, VERSION_SIZE);
    cbor_put_array(&b, COMMAND_CHUNKS_MAX + 1);
    for (int i = 0; i < 2048; i++) {
        buf_append(&b, "\x82", 1);
    }
    assert_int_equal(b.error, 0);
    assert_int_equal(command_decode(b.bytes, b.size, space, &back), ERR_PROTOCOL);
    buf_release(&b);
}

static void test_result(void **state) {
    (void)state;
    const struct command_result r = {
        .status = ERR_ABORTED,
        .version = versioned(3),
        .modified_ms = 5,
        .node = UINT32_MAX,
        .epoch = UINT64_MAX,
        .live = true,
    };
    struct command_result back;
    struct buf b;
    buf_init(&b, 256);
    command_result_encode(&r, &b);
    assert_int_equal(command_result_decode(b.bytes, b.size, &back), 0);
    assert_int_equal(back.status, r.status);
    assert_true(same_version(back.version, r.version));
    assert_true(back.modified_ms == 5 && back.node == UINT32_MAX && back.epoch == UINT64_MAX && back.live);
    for (size_t size = 0; size < b.size; size++) {
        assert_int_equal(command_result_decode(b.bytes, size, &back), ERR_PROTOCOL);
    }
    b.bytes[1] = 0x37; /* -24 */
    assert_int_equal(command_result_decode(b.bytes, b.size, &back), 0);
    assert_int_equal(back.status, -24);
    b.bytes[1] = 0x38; /* the head of a longer number */
    assert_int_equal(command_result_decode(b.bytes, b.size, &back), ERR_PROTOCOL);
    b.bytes[1] = 0x01; /* errors are negative */
    assert_int_equal(command_result_decode(b.bytes, b.size, &back), ERR_PROTOCOL);
    buf_release(&b);
}

static struct query query_sample(enum query_kind kind) {
    struct query q = {.kind = kind};
    if (kind == QUERY_NAME || kind == QUERY_LIST) {
        q.name = named("photos/2024");
    }
    if (kind == QUERY_LIST) {
        q.shard = NAME_SHARDS - 1;
        memcpy(q.after, "2024/b", 6);
        q.after_size = 6;
    }
    if (kind == QUERY_LIST || kind == QUERY_PENDING || kind == QUERY_REFS || kind == QUERY_OUTBOX) {
        q.limit = 100;
    }
    if (kind == QUERY_PENDING || kind == QUERY_REFS) {
        q.before_ms = 12345;
        q.after_digest = chunked(1).digest;
        q.after_version = versioned(2);
    }
    if (kind == QUERY_REF || kind == QUERY_USED) {
        q.digest = chunked(3).digest;
    }
    if (kind == QUERY_REF || kind == QUERY_OUTBOX) {
        q.version = versioned(4);
    }
    if (kind == QUERY_OUTBOX) {
        q.position = UINT64_MAX;
        q.from_start = true;
    }
    return q;
}

static void check_query(const struct query *a, const struct query *b) {
    assert_int_equal(a->kind, b->kind);
    check_name(&a->name, &b->name);
    assert_int_equal(a->shard, b->shard);
    assert_string_equal(a->after, b->after);
    assert_int_equal(a->after_size, b->after_size);
    assert_int_equal(a->limit, b->limit);
    assert_true(a->before_ms == b->before_ms && a->position == b->position && a->from_start == b->from_start);
    assert_true(same_digest(a->digest, b->digest) && same_digest(a->after_digest, b->after_digest));
    assert_true(same_version(a->version, b->version) && same_version(a->after_version, b->after_version));
}

static void test_queries(void **state) {
    (void)state;
    for (unsigned kind = 0; kind < QUERY_KINDS; kind++) {
        struct query q = query_sample((enum query_kind)kind), back;
        struct buf b;
        buf_init(&b, 4096);
        query_encode(&q, &b);
        assert_int_equal(b.error, 0);
        assert_int_equal(query_decode(b.bytes, b.size, &back), 0);
        check_query(&q, &back);
        for (size_t size = 0; size < b.size; size++) {
            assert_int_equal(query_decode(b.bytes, size, &back), ERR_PROTOCOL);
        }
        buf_append(&b, "", 1);
        assert_int_equal(query_decode(b.bytes, b.size, &back), ERR_PROTOCOL);
        buf_release(&b);
    }
}

static void test_list_of_everything(void **state) {
    (void)state;
    struct query q = query_sample(QUERY_LIST), back;
    struct buf b;
    q.name.key_size = 0;
    q.name.key[0] = 0;
    buf_init(&b, 4096);
    query_encode(&q, &b);
    assert_int_equal(query_decode(b.bytes, b.size, &back), 0);
    assert_int_equal(back.name.key_size, 0);
    buf_release(&b);
    q.shard = NAME_SHARDS;
    query_encode(&q, &b);
    assert_int_equal(query_decode(b.bytes, b.size, &back), ERR_PROTOCOL);
    buf_release(&b);
}

static void test_pages(void **state) {
    (void)state;
    /* [0, false, 1, ["k", version, 1, 2]] */
    struct buf b;
    struct page_reader p;
    struct list_entry e;
    buf_init(&b, 256);
    cbor_put_array(&b, 4);
    cbor_put_int(&b, 0);
    cbor_put_bool(&b, true);
    cbor_put_uint(&b, 1);
    cbor_put_array(&b, 4);
    cbor_put_text(&b, "k", 1);
    cbor_put_bytes(&b, versioned(1).bytes, VERSION_SIZE);
    cbor_put_uint(&b, 1);
    cbor_put_uint(&b, 2);
    assert_int_equal(page_open(b.bytes, b.size, &p), 0);
    assert_true(p.more && p.left == 1);
    assert_int_equal(page_list_next(&p, &e), 0);
    assert_string_equal(e.key, "k");
    assert_true(e.size == 1 && e.modified_ms == 2 && same_version(e.version, versioned(1)));
    assert_int_equal(page_list_next(&p, &e), ERR_NOT_FOUND);
    assert_int_equal(page_list_next(&p, &e), ERR_NOT_FOUND);
    for (size_t size = 0; size < b.size; size++) {
        int rc = page_open(b.bytes, size, &p);
        assert_int_equal(rc == 0 ? page_list_next(&p, &e) : rc, ERR_PROTOCOL);
    }
    buf_append(&b, "", 1);
    assert_int_equal(page_open(b.bytes, b.size, &p), 0);
    assert_int_equal(page_list_next(&p, &e), 0);
    assert_int_equal(page_list_next(&p, &e), ERR_PROTOCOL);
    b.bytes[3] = 0x02; /* a count that disagrees with the array */
    assert_int_equal(page_open(b.bytes, b.size, &p), ERR_PROTOCOL);
    buf_release(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_mutated),
        cmocka_unit_test(test_put_without_version),
        cmocka_unit_test(test_sizes_that_do_not_add_up),
        cmocka_unit_test(test_refs_without_chunks),
        cmocka_unit_test(test_rm_of_the_absent),
        cmocka_unit_test(test_bad_names),
        cmocka_unit_test(test_largest),
        cmocka_unit_test(test_count_that_claims_too_much),
        cmocka_unit_test(test_result),
        cmocka_unit_test(test_queries),
        cmocka_unit_test(test_list_of_everything),
        cmocka_unit_test(test_pages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
