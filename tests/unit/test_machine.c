/* The commands of an arc, rule by rule: names, references, outbox, settlement, exactly once; and the queries. */
#include "machine_world.h"

#define DAY_MS (24ull * 60 * 60 * 1000)

static int setup(void **state) {
    struct world *w = malloc(sizeof(*w));
    assert_non_null(w);
    world_open(w, whole_ring());
    *state = w;
    return 0;
}

static int teardown(void **state) {
    world_close(*state);
    free(*state);
    return 0;
}

static void check_under(struct world *w, const char *text, uint8_t version, uint64_t modified_ms) {
    struct name_row row;
    struct name n = named(text);
    assert_int_equal(world_name(w, &n, &row), 0);
    assert_true(same_version(row.version, versioned(version)));
    assert_true(row.modified_ms == modified_ms);
}

static void check_absent(struct world *w, const char *text) {
    struct name_row row;
    struct name n = named(text);
    assert_int_equal(world_name(w, &n, &row), ERR_NOT_FOUND);
}

static int apply_status(struct world *w, struct command c) {
    return world_apply(w, &c).status;
}

/* ---- names ---- */

static void test_put_then_read(void **state) {
    struct world *w = *state;
    struct name_row row;
    struct name n = named("a/b");
    struct command c = put_inline("a/b", 1, "hello");
    struct command_result r = world_apply(w, &c);
    assert_int_equal(r.status, 0);
    assert_true(same_version(r.version, versioned(1)) && r.modified_ms == w->stamp_ms);
    assert_int_equal(w->effects.count, 0);
    assert_int_equal(world_name(w, &n, &row), 0);
    assert_string_equal(row.key, "b");
    assert_true(row.is_inline && row.size == 5);
    assert_memory_equal(row.bytes, "hello", 5);
    check_absent(w, "a/c");
}

static bool foretold(struct world *w, const struct command *c, struct buf *out) {
    buf_clear(&w->command);
    command_encode(c, &w->command);
    buf_clear(out);
    return machine_foretell(&w->arc, w->stamp_ms, w->command.bytes, w->command.size, out);
}

/* Whatever lies under the name: nothing, bytes, chunks. */
static void test_the_foretold_answer_is_the_one_given(void **state) {
    struct world *w = *state;
    struct chunk_ref chunks[] = {chunked(1), chunked(2)};
    struct buf answer;
    buf_init(&answer, WORLD_BUF_MAX);
    for (uint8_t version = 1; version < 9; version += 2) {
        struct command c = put_inline("f", version, "hello");
        c.client = version > 4 ? 77 : 0;
        c.seq = c.client ? version : 0;
        w->stamp_ms += 10;
        assert_true(foretold(w, &c, &answer));
        (void)world_apply(w, &c);
        assert_int_equal(answer.size, w->answer.size);
        assert_memory_equal(answer.bytes, w->answer.bytes, answer.size);
        assert_int_equal(apply_status(w, put_chunks("f", (uint8_t)(version + 1), chunks, 2)), 0);
    }
    buf_release(&answer);
}

static void test_what_depends_on_the_state_is_not_foretold(void **state) {
    struct world *w = *state;
    struct chunk_ref chunks[] = {chunked(1)};
    struct buf answer;
    buf_init(&answer, WORLD_BUF_MAX);
    struct command c = put_inline("f", 1, "hello");
    c.u.put.condition = CONDITION_ABSENT;
    assert_false(foretold(w, &c, &answer));
    c.u.put.condition = CONDITION_MATCH;
    assert_false(foretold(w, &c, &answer));
    c = put_chunks("f", 1, chunks, 1);
    assert_false(foretold(w, &c, &answer));
    c = (struct command){.kind = COMMAND_NAME_RM, .u.rm.name = named("f")};
    assert_false(foretold(w, &c, &answer));
    c = put_inline("f", 1, "hello");
    struct machine_arc arc = w->arc;
    w->arc.first = name_position(&c.u.put.name) + 1; /* not ours */
    assert_false(foretold(w, &c, &answer));
    w->arc = arc;
    assert_false(machine_foretell(&w->arc, 1, w->command.bytes, w->command.size - 1, &answer));
    assert_int_equal(answer.size, 0);
    buf_release(&answer);
}

static void test_put_chunks_then_read(void **state) {
    struct world *w = *state;
    struct chunk_ref chunks[] = {chunked(1), chunked(2), chunked(1)};
    struct name n = named("f");
    struct name_row row;
    assert_int_equal(apply_status(w, put_chunks("f", 1, chunks, 3)), 0);
    assert_int_equal(world_name(w, &n, &row), 0);
    assert_false(row.is_inline);
    assert_int_equal(row.chunk_count, 3);
    assert_true(row.size == 3004);
    for (int i = 0; i < 3; i++) {
        assert_true(same_digest(row.chunks[i].digest, chunks[i].digest));
        assert_int_equal(row.chunks[i].size, chunks[i].size);
    }
}

static void test_put_if_absent(void **state) {
    struct world *w = *state;
    struct command c = put_inline("f", 1, "one");
    c.u.put.condition = CONDITION_ABSENT;
    assert_int_equal(apply_status(w, c), 0);
    w->stamp_ms = 2000;
    c.u.put.version = versioned(2);
    struct command_result r = world_apply(w, &c);
    assert_int_equal(r.status, ERR_PRECONDITION);
    assert_true(same_version(r.version, versioned(1)) && r.modified_ms == 1000);
    check_under(w, "f", 1, 1000);
}

static void test_put_if_match(void **state) {
    struct world *w = *state;
    struct command c = put_inline("f", 2, "two");
    c.u.put.condition = CONDITION_MATCH;
    c.u.put.match = versioned(1);
    assert_int_equal(apply_status(w, c), ERR_PRECONDITION);
    check_absent(w, "f");
    assert_int_equal(apply_status(w, put_inline("f", 1, "one")), 0);
    assert_int_equal(apply_status(w, c), 0);
    check_under(w, "f", 2, 1000);
    c.u.put.version = versioned(3);
    assert_int_equal(apply_status(w, c), ERR_PRECONDITION);
    check_under(w, "f", 2, 1000);
}

static void test_put_of_the_current_version_succeeds_again(void **state) {
    struct world *w = *state;
    struct command c = put_inline("f", 1, "one");
    c.u.put.condition = CONDITION_ABSENT;
    assert_int_equal(apply_status(w, c), 0);
    w->stamp_ms = 5000;
    struct command_result r = world_apply(w, &c);
    assert_int_equal(r.status, 0);
    assert_true(r.modified_ms == 1000);
    check_under(w, "f", 1, 1000);
}

static struct page_reader outbox(struct world *w) {
    const struct query q = {.kind = QUERY_OUTBOX, .from_start = true};
    return world_page(w, &q);
}

static void check_outbox_one(struct world *w, const char *text, uint8_t version, const struct chunk_ref *chunks,
                             uint32_t count) {
    struct page_reader p = outbox(w);
    struct outbox_row row;
    struct name n = named(text);
    assert_false(p.more);
    assert_int_equal(page_outbox_next(&p, w->space, &row), 0);
    assert_true(row.position == name_position(&n));
    assert_string_equal(row.name.key, n.key);
    assert_string_equal(row.name.bucket, n.bucket);
    assert_true(same_version(row.version, versioned(version)));
    assert_int_equal(row.chunk_count, count);
    for (uint32_t i = 0; i < count; i++) {
        assert_true(same_digest(row.chunks[i].digest, chunks[i].digest));
    }
    assert_int_equal(page_outbox_next(&p, w->space, &row), ERR_NOT_FOUND);
}

static void test_replaced_chunks_go_to_the_outbox(void **state) {
    struct world *w = *state;
    struct chunk_ref chunks[] = {chunked(1), chunked(2)};
    assert_int_equal(apply_status(w, put_chunks("b/f", 1, chunks, 2)), 0);
    assert_int_equal(w->effects.count, 0);
    assert_int_equal(apply_status(w, put_chunks("b/f", 2, chunks, 1)), 0);
    assert_int_equal(w->effects.count, 1);
    assert_int_equal(w->effects.items[0].kind, EFFECT_OUTBOX);
    assert_true(same_version(w->effects.items[0].version, versioned(1)));
    check_outbox_one(w, "b/f", 1, chunks, 2);
    assert_int_equal(apply_status(w, of_version(COMMAND_OUTBOX_DONE, "b/f", 1)), 0);
    assert_int_equal(outbox(w).left, 0);
    assert_int_equal(apply_status(w, of_version(COMMAND_OUTBOX_DONE, "b/f", 1)), 0);
}

static void test_replaced_inline_needs_no_outbox(void **state) {
    struct world *w = *state;
    assert_int_equal(apply_status(w, put_inline("f", 1, "one")), 0);
    assert_int_equal(apply_status(w, put_inline("f", 2, "two")), 0);
    assert_int_equal(w->effects.count, 0);
    assert_int_equal(world_rows(w, TABLE_OUTBOX), 0);
}

static void test_refused_put_changes_nothing(void **state) {
    struct world *w = *state;
    struct chunk_ref chunks[] = {chunked(1)};
    assert_int_equal(apply_status(w, put_chunks("f", 1, chunks, 1)), 0);
    struct digest before = world_digest(w);
    struct command c = put_inline("f", 2, "two");
    c.u.put.condition = CONDITION_ABSENT;
    assert_int_equal(apply_status(w, c), ERR_PRECONDITION);
    assert_true(same_digest(before, world_digest(w)));
    assert_int_equal(w->effects.count, 0);
}

static void test_version_on_its_way_out_cannot_come_back(void **state) {
    struct world *w = *state;
    struct chunk_ref chunks[] = {chunked(1)};
    assert_int_equal(apply_status(w, put_chunks("f", 1, chunks, 1)), 0);
    assert_int_equal(apply_status(w, put_inline("f", 2, "two")), 0);
    struct command_result r;
    struct command c = put_chunks("f", 1, chunks, 1);
    r = world_apply(w, &c);
    assert_int_equal(r.status, ERR_ABORTED);
    assert_true(same_version(r.version, versioned(2)));
    check_under(w, "f", 2, 1000);
}

static void test_rm(void **state) {
    struct world *w = *state;
    struct chunk_ref chunks[] = {chunked(1)};
    struct command c = rm("f");
    assert_int_equal(apply_status(w, c), ERR_NOT_FOUND);
    assert_int_equal(apply_status(w, put_chunks("f", 1, chunks, 1)), 0);
    c.u.rm.condition = CONDITION_MATCH;
    c.u.rm.match = versioned(7);
    struct command_result r = world_apply(w, &c);
    assert_int_equal(r.status, ERR_PRECONDITION);
    assert_true(same_version(r.version, versioned(1)));
    check_under(w, "f", 1, 1000);
    c.u.rm.match = versioned(1);
    r = world_apply(w, &c);
    assert_int_equal(r.status, 0);
    assert_true(same_version(r.version, versioned(1)));
    assert_int_equal(effects_of(w, EFFECT_OUTBOX), 1);
    check_absent(w, "f");
    check_outbox_one(w, "f", 1, chunks, 1);
    assert_int_equal(apply_status(w, rm("f")), ERR_NOT_FOUND);
}

static void test_settle_live(void **state) {
    struct world *w = *state;
    assert_int_equal(apply_status(w, put_inline("f", 1, "one")), 0);
    struct command c = of_version(COMMAND_VERSION_SETTLE, "f", 1);
    struct command_result r = world_apply(w, &c);
    assert_int_equal(r.status, 0);
    assert_true(r.live);
    assert_int_equal(world_rows(w, TABLE_ABORTED), 0);
}

static void test_settled_as_dead_can_never_be_put(void **state) {
    struct world *w = *state;
    struct command c = of_version(COMMAND_VERSION_SETTLE, "f", 1);
    struct command_result r = world_apply(w, &c);
    assert_int_equal(r.status, 0);
    assert_false(r.live);
    struct digest once = world_digest(w);
    w->stamp_ms = 9000;
    assert_false(world_apply(w, &c).live);
    assert_true(same_digest(once, world_digest(w)));
    struct chunk_ref chunks[] = {chunked(1)};
    assert_int_equal(apply_status(w, put_chunks("f", 1, chunks, 1)), ERR_ABORTED);
    check_absent(w, "f");
    assert_int_equal(apply_status(w, put_inline("f", 2, "two")), 0);
    assert_int_equal(apply_status(w, put_inline("g", 1, "one")), 0);
    c = of_version(COMMAND_VERSION_SETTLE, "f", 3);
    assert_false(world_apply(w, &c).live);
}

/* ---- references ---- */

static struct query ref_query(uint8_t chunk, uint8_t version) {
    return (struct query){.kind = QUERY_REF, .digest = chunked(chunk).digest, .version = versioned(version)};
}

static int ref_status(struct world *w, uint8_t chunk, uint8_t version) {
    const struct query q = ref_query(chunk, version);
    return world_status(w, &q);
}

static int used_status(struct world *w, uint8_t chunk) {
    const struct query q = {.kind = QUERY_USED, .digest = chunked(chunk).digest};
    return world_status(w, &q);
}

static void test_ref_add(void **state) {
    struct world *w = *state;
    struct chunk_ref chunks[] = {chunked(1), chunked(2)};
    assert_int_equal(used_status(w, 1), ERR_NOT_FOUND);
    assert_int_equal(apply_status(w, refs(COMMAND_REF_ADD, 1, "f", chunks, 2)), 0);
    assert_int_equal(effects_of(w, EFFECT_REF_ADDED), 2);
    assert_true(same_digest(w->effects.items[1].digest, chunks[1].digest));
    assert_true(same_version(w->effects.items[1].version, versioned(1)));
    assert_int_equal(ref_status(w, 1, 1), 0);
    assert_int_equal(ref_status(w, 2, 1), 0);
    assert_int_equal(ref_status(w, 1, 2), ERR_NOT_FOUND);
    assert_int_equal(used_status(w, 2), 0);
    struct digest before = world_digest(w);
    w->stamp_ms = 2000;
    assert_int_equal(apply_status(w, refs(COMMAND_REF_ADD, 1, "f", chunks, 2)), 0);
    assert_int_equal(effects_of(w, EFFECT_REF_ADDED), 2);
    assert_true(same_digest(before, world_digest(w)));
}

static void test_ref_del_drops_the_chunk_with_its_last_reference(void **state) {
    struct world *w = *state;
    struct chunk_ref chunks[] = {chunked(1)};
    assert_int_equal(apply_status(w, refs(COMMAND_REF_ADD, 1, "f", chunks, 1)), 0);
    assert_int_equal(apply_status(w, refs(COMMAND_REF_ADD, 2, "g", chunks, 1)), 0);
    assert_int_equal(apply_status(w, refs(COMMAND_REF_DEL, 1, "", chunks, 1)), 0);
    assert_int_equal(w->effects.count, 0);
    assert_int_equal(used_status(w, 1), 0);
    assert_int_equal(ref_status(w, 1, 1), ERR_NOT_FOUND);
    assert_int_equal(apply_status(w, refs(COMMAND_REF_DEL, 2, "", chunks, 1)), 0);
    assert_int_equal(w->effects.count, 1);
    assert_int_equal(w->effects.items[0].kind, EFFECT_CHUNK_DROPPED);
    assert_true(same_digest(w->effects.items[0].digest, chunks[0].digest));
    assert_int_equal(used_status(w, 1), ERR_NOT_FOUND);
    assert_int_equal(world_rows(w, TABLE_REFS), 0);
    assert_int_equal(apply_status(w, refs(COMMAND_REF_DEL, 2, "", chunks, 1)), 0);
}

static size_t pending(struct world *w, uint64_t before_ms) {
    const struct query q = {.kind = QUERY_PENDING, .from_start = true, .before_ms = before_ms};
    struct page_reader p = world_page(w, &q);
    struct ref_row row;
    size_t count = 0;
    int rc = page_ref_next(&p, &row);
    for (; rc == 0; rc = page_ref_next(&p, &row)) {
        assert_true(row.pending && row.stamp_ms < before_ms);
        assert_string_equal(row.name.key, "f");
        count++;
    }
    assert_int_equal(rc, ERR_NOT_FOUND);
    return count;
}

static void test_pending_until_confirmed(void **state) {
    struct world *w = *state;
    struct chunk_ref chunks[] = {chunked(1), chunked(2), chunked(3)};
    assert_int_equal(apply_status(w, refs(COMMAND_REF_ADD, 1, "f", chunks, 2)), 0);
    assert_int_equal(pending(w, 1000), 0);
    assert_int_equal(pending(w, 1001), 2);
    /* one of these is not referenced: removed before its confirmation came */
    struct chunk_ref confirmed[] = {chunked(1), chunked(3)};
    assert_int_equal(apply_status(w, refs(COMMAND_REF_CONFIRM, 1, "", confirmed, 2)), 0);
    assert_int_equal(pending(w, 1001), 1);
    assert_int_equal(ref_status(w, 3, 1), ERR_NOT_FOUND);
    assert_int_equal(apply_status(w, refs(COMMAND_REF_ADD, 1, "f", chunks, 2)), 0);
    assert_int_equal(pending(w, 5000), 1);
    assert_int_equal(apply_status(w, refs(COMMAND_REF_CONFIRM, 1, "", chunks, 2)), 0);
    assert_int_equal(pending(w, 5000), 0);
}

/* ---- the arc ---- */

static void test_command_outside_the_arc(void **state) {
    struct world *w = *state;
    struct chunk_ref chunks[] = {chunked(1), chunked(2)};
    uint64_t one = ring_position(&chunks[0].digest), two = ring_position(&chunks[1].digest);
    w->arc = (struct machine_arc){.first = one, .last = one};
    assert_true(one != two);
    struct digest before = world_digest(w);
    assert_int_equal(apply_status(w, refs(COMMAND_REF_ADD, 1, "f", chunks, 2)), ERR_INVALID);
    assert_int_equal(w->effects.count, 0);
    assert_int_equal(apply_status(w, put_inline("f", 1, "x")), ERR_INVALID);
    assert_int_equal(apply_status(w, rm("f")), ERR_INVALID);
    assert_int_equal(apply_status(w, of_version(COMMAND_VERSION_SETTLE, "f", 1)), ERR_INVALID);
    assert_int_equal(apply_status(w, of_version(COMMAND_OUTBOX_DONE, "f", 1)), ERR_INVALID);
    assert_true(same_digest(before, world_digest(w)));
    assert_int_equal(apply_status(w, refs(COMMAND_REF_ADD, 1, "f", chunks, 1)), 0);
}

static void test_root_command_in_an_arc(void **state) {
    struct world *w = *state;
    struct command c = {.kind = COMMAND_MEMBER_SET};
    c.u.member = member_numbered(1, MEMBER_UP);
    assert_int_equal(apply_status(w, c), ERR_INVALID);
}

static void test_garbage_is_answered(void **state) {
    struct world *w = *state;
    assert_int_equal(world_apply_bytes(w, (const uint8_t *)"\xff\x00", 2).status, ERR_INVALID);
    assert_int_equal(world_apply_bytes(w, NULL, 0).status, ERR_INVALID);
}

static void test_query_outside_the_arc(void **state) {
    struct world *w = *state;
    struct query q = {.kind = QUERY_NAME, .name = named("f")};
    w->arc = (struct machine_arc){.first = name_position(&q.name) + 1, .last = UINT64_MAX};
    assert_int_equal(world_query(w, &q), ERR_INVALID);
    q = (struct query){.kind = QUERY_ROOT};
    assert_int_equal(world_query(w, &q), ERR_INVALID);
    w->arc = root_arc();
    q = (struct query){.kind = QUERY_REFS, .from_start = true};
    assert_int_equal(world_query(w, &q), ERR_INVALID);
    q = (struct query){.kind = QUERY_OUTBOX, .from_start = true};
    assert_int_equal(world_query(w, &q), ERR_INVALID);
}

/* ---- exactly once ---- */

static struct command numbered(struct command c, uint64_t client, uint64_t seq, uint64_t ack_below) {
    c.client = client;
    c.seq = seq;
    c.ack_below = ack_below;
    return c;
}

static void test_repeat_gets_the_first_answer(void **state) {
    struct world *w = *state;
    struct chunk_ref chunks[] = {chunked(1)};
    assert_int_equal(apply_status(w, put_chunks("f", 1, chunks, 1)), 0);
    struct command c = numbered(rm("f"), 5, 1, 1);
    struct command_result first = world_apply(w, &c);
    assert_int_equal(first.status, 0);
    assert_int_equal(effects_of(w, EFFECT_OUTBOX), 1);
    struct digest before = world_digest(w);
    w->stamp_ms += 1000;
    struct command_result again = world_apply(w, &c);
    assert_int_equal(again.status, 0);
    assert_true(same_version(again.version, versioned(1)));
    assert_int_equal(w->effects.count, 0);
    assert_true(same_digest(before, world_digest(w)));
    c.client = 6;
    assert_int_equal(world_apply(w, &c).status, ERR_NOT_FOUND);
}

static void test_refusals_are_remembered_too(void **state) {
    struct world *w = *state;
    struct command c = numbered(rm("f"), 5, 1, 0);
    assert_int_equal(world_apply(w, &c).status, ERR_NOT_FOUND);
    assert_int_equal(apply_status(w, put_inline("f", 1, "one")), 0);
    assert_int_equal(world_apply(w, &c).status, ERR_NOT_FOUND);
    check_under(w, "f", 1, 1000);
}

static void test_acknowledged_is_stale_and_forgotten(void **state) {
    struct world *w = *state;
    for (uint64_t seq = 9; seq <= 18; seq++) {
        assert_int_equal(apply_status(w, numbered(put_inline("f", (uint8_t)seq, "x"), 5, seq, 9)), 0);
    }
    assert_int_equal(world_rows(w, TABLE_CLIENTS), 1 + 10);
    assert_int_equal(apply_status(w, numbered(put_inline("f", 19, "x"), 5, 19, 17)), 0);
    assert_int_equal(world_rows(w, TABLE_CLIENTS), 1 + 3);
    assert_int_equal(apply_status(w, numbered(put_inline("f", 16, "x"), 5, 16, 9)), ERR_STALE);
    check_under(w, "f", 19, 1000);
    assert_int_equal(apply_status(w, numbered(put_inline("f", 17, "x"), 5, 17, 9)), 0);
    check_under(w, "f", 19, 1000);
    /* an older promise does not lower what is recorded */
    assert_int_equal(apply_status(w, numbered(put_inline("f", 20, "x"), 5, 20, 10)), 0);
    assert_int_equal(apply_status(w, numbered(put_inline("f", 16, "x"), 5, 16, 9)), ERR_STALE);
}

static void test_promise_about_itself_is_refused(void **state) {
    struct world *w = *state;
    assert_int_equal(apply_status(w, numbered(put_inline("f", 1, "x"), 5, 1, 2)), ERR_INVALID);
    check_absent(w, "f");
    assert_int_equal(world_rows(w, TABLE_CLIENTS), 0);
}

static void test_clients_of_one_number_in_two_arcs(void **state) {
    struct world *w = *state;
    struct chunk_ref chunks[] = {chunked(1)};
    uint64_t middle = ring_position(&chunks[0].digest);
    w->arc = (struct machine_arc){.first = 0, .last = middle - 1};
    struct machine_arc other = {.first = middle, .last = UINT64_MAX};
    struct digest before = world_digest(w);
    w->arc = other;
    assert_int_equal(apply_status(w, numbered(refs(COMMAND_REF_ADD, 1, "f", chunks, 1), 5, 1, 1)), 0);
    w->arc = (struct machine_arc){.first = 0, .last = middle - 1};
    assert_true(same_digest(before, world_digest(w)));
}

/* The root's rows and those of the first arc, which also begins at position 0, stay apart in one store. */
static void test_root_and_first_arc_share_no_client_rows(void **state) {
    struct world *w = *state;
    struct command set = {.kind = COMMAND_MEMBER_SET, .client = 5, .seq = 1};
    set.u.member = member_numbered(1, MEMBER_UP);
    struct digest before = world_digest(w);
    w->arc = root_arc();
    assert_int_equal(world_apply(w, &set).status, ERR_NOT_FOUND);
    struct digest root = world_digest(w);
    w->arc = whole_ring();
    assert_true(same_digest(before, world_digest(w)));
    assert_int_equal(apply_status(w, numbered(put_inline("f", 1, "x"), 5, 1, 1)), 0);
    w->arc = root_arc();
    assert_true(same_digest(root, world_digest(w)));
}

/* Acknowledged answers go by sixteens, and every eighth command looks for idle clients. */
static void test_idle_clients_are_forgotten(void **state) {
    struct world *w = *state;
    for (uint64_t client = 1; client <= 5; client++) {
        assert_int_equal(apply_status(w, numbered(rm("f"), client, 16, 16)), ERR_NOT_FOUND);
    }
    assert_int_equal(world_rows(w, TABLE_CLIENTS), 10);
    w->stamp_ms += DAY_MS;
    for (uint64_t seq = 2; seq < 10; seq++) {
        assert_int_equal(apply_status(w, numbered(rm("f"), 3, 16 * seq, 16 * seq)), ERR_NOT_FOUND);
    }
    assert_int_equal(world_rows(w, TABLE_CLIENTS), 10);
    w->stamp_ms += 1;
    for (uint64_t seq = 10; seq < 14; seq++) {
        assert_int_equal(world_rows(w, TABLE_CLIENTS), 10 - 2 * (seq - 10));
        assert_int_equal(apply_status(w, numbered(rm("f"), 3, 16 * seq, 16 * seq)), ERR_NOT_FOUND);
    }
    assert_int_equal(world_rows(w, TABLE_CLIENTS), 2);
    assert_int_equal(apply_status(w, numbered(rm("f"), 3, 80, 80)), ERR_STALE);
    assert_int_equal(apply_status(w, numbered(rm("f"), 1, 1, 1)), ERR_NOT_FOUND);
    assert_int_equal(world_rows(w, TABLE_CLIENTS), 4);
}

/* A large window is deleted in bounded steps; what waits is below ack_below and so never answered from. */
static void test_many_answers_of_an_idle_client(void **state) {
    struct world *w = *state;
    for (uint64_t seq = 0; seq < 1500; seq++) {
        assert_int_equal(apply_status(w, numbered(rm("f"), 1, seq, 0)), ERR_NOT_FOUND);
    }
    w->stamp_ms += DAY_MS + 1;
    assert_int_equal(apply_status(w, numbered(rm("f"), 2, 8, 8)), ERR_NOT_FOUND);
    assert_int_equal(world_rows(w, TABLE_CLIENTS), 2 + 1 + 1500 - 1024);
    assert_int_equal(apply_status(w, numbered(rm("f"), 2, 16, 16)), ERR_NOT_FOUND);
    assert_int_equal(world_rows(w, TABLE_CLIENTS), 2);
}

/* ---- listings ---- */

static unsigned shard_of(const char *text) {
    struct name n = named(text);
    return name_shard(&n);
}

/* Walks the shard in pages of `limit` and checks the order; returns how many. */
static size_t list_all(struct world *w, struct query q, char last[NAME_KEY_MAX + 1]) {
    size_t count = 0;
    bool more = true;
    struct list_entry e = {.key_size = 0};
    memcpy(e.key, q.after, sizeof(e.key));
    while (more) {
        struct page_reader p = world_page(w, &q);
        uint64_t rows = p.left;
        assert_true(q.limit == 0 || rows <= q.limit);
        more = p.more;
        assert_true(rows > 0 || !more);
        while (page_list_next(&p, &e) == 0) {
            assert_true(strcmp(e.key, q.after) > 0);
            assert_memory_equal(e.key, q.name.key, q.name.key_size);
            memcpy(q.after, e.key, e.key_size + 1);
            q.after_size = e.key_size;
            count++;
        }
        assert_int_equal(page_list_next(&p, &e), ERR_NOT_FOUND);
    }
    memcpy(last, q.after, sizeof(q.after));
    return count;
}

static void test_list_in_order_with_prefix(void **state) {
    struct world *w = *state;
    size_t per_shard[NAME_SHARDS] = {0}, prefixed[NAME_SHARDS] = {0};
    char text[64], last[NAME_KEY_MAX + 1];
    for (int i = 0; i < 300; i++) {
        snprintf(text, sizeof(text), "b/%s/%d", i % 3 ? "many" : "few", i * 7919 % 1000);
        assert_int_equal(apply_status(w, put_inline(text, 1, "x")), 0);
        per_shard[shard_of(text)]++;
        prefixed[shard_of(text)] += i % 3 != 0;
    }
    assert_int_equal(apply_status(w, put_inline("c/many/1", 1, "x")), 0);
    for (unsigned shard = 0; shard < NAME_SHARDS; shard++) {
        struct query q = {.kind = QUERY_LIST, .name = named("b/many/"), .shard = shard, .limit = 3};
        assert_int_equal(list_all(w, q, last), prefixed[shard]);
        q.name.key_size = 0;
        q.limit = 0;
        assert_int_equal(list_all(w, q, last), per_shard[shard]);
        /* everything up to `last` is behind */
        memcpy(q.after, last, sizeof(last));
        q.after_size = strlen(last);
        assert_int_equal(list_all(w, q, last), 0);
    }
}

static void test_list_entry_fields(void **state) {
    struct world *w = *state;
    struct list_entry e;
    w->stamp_ms = 77;
    assert_int_equal(apply_status(w, put_inline("b/k", 9, "four")), 0);
    const struct query q = {.kind = QUERY_LIST, .name = named("b/k"), .shard = shard_of("b/k")};
    struct page_reader p = world_page(w, &q);
    assert_int_equal(page_list_next(&p, &e), 0);
    assert_string_equal(e.key, "k");
    assert_int_equal(e.key_size, 1);
    assert_true(e.size == 4 && e.modified_ms == 77 && same_version(e.version, versioned(9)));
}

/* Keys over NAME_INDEX_KEY bytes that agree in what the index keeps: the table orders them by digest, a listing by
 * themselves. */
static void long_name(char *text, size_t size, const char *tail) {
    memcpy(text, "b/", 2);
    memset(text + 2, 'x', size - 2);
    memcpy(text + size, tail, strlen(tail) + 1);
}

#define LONG_NAMES 400

static void put_long_names(struct world *w, size_t shared, size_t per_shard[NAME_SHARDS],
                           size_t hundreds[NAME_SHARDS]) {
    char text[NAME_TEXT_MAX], tail[32];
    for (unsigned i = 0; i < LONG_NAMES; i++) {
        snprintf(tail, sizeof(tail), "%03u", i * 37 % LONG_NAMES);
        long_name(text, 2 + shared, tail);
        assert_int_equal(apply_status(w, put_inline(text, 1, "x")), 0);
        per_shard[shard_of(text)]++;
        hundreds[shard_of(text)] += tail[0] == '1';
    }
}

static void check_long_names(size_t shared) {
    struct world w;
    size_t per_shard[NAME_SHARDS] = {0}, hundreds[NAME_SHARDS] = {0};
    char last[NAME_KEY_MAX + 1], text[NAME_TEXT_MAX];
    world_open(&w, whole_ring());
    put_long_names(&w, shared, per_shard, hundreds);
    for (unsigned shard = 0; shard < NAME_SHARDS; shard++) {
        struct query q = {.kind = QUERY_LIST, .name = named("b/x"), .shard = shard};
        static const uint32_t limits[] = {1, 2, 7, 0};
        for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
            q.limit = limits[i];
            assert_int_equal(list_all(&w, q, last), per_shard[shard]);
        }
        long_name(text, 2 + shared, "1");
        q.name = named(text);
        assert_int_equal(list_all(&w, q, last), hundreds[shard]);
    }
    world_close(&w);
}

static void test_list_of_keys_longer_than_the_index(void **state) {
    (void)state;
    check_long_names(NAME_INDEX_KEY - 3); /* exactly as long: no digest */
    check_long_names(NAME_INDEX_KEY - 2);
    check_long_names(NAME_INDEX_KEY);
    check_long_names(900);
}

static void test_long_and_short_keys_mixed(void **state) {
    struct world *w = *state;
    char text[NAME_TEXT_MAX], last[NAME_KEY_MAX + 1];
    size_t per_shard[NAME_SHARDS] = {0};
    for (size_t size = NAME_INDEX_KEY - 60; size < NAME_INDEX_KEY + 60; size++) {
        long_name(text, 2 + size, "");
        assert_int_equal(apply_status(w, put_inline(text, 1, "x")), 0);
        per_shard[shard_of(text)]++;
        long_name(text, 2 + size, "y");
        assert_int_equal(apply_status(w, put_inline(text, 1, "x")), 0);
        per_shard[shard_of(text)]++;
    }
    for (unsigned shard = 0; shard < NAME_SHARDS; shard++) {
        struct query q = {.kind = QUERY_LIST, .name = named("b/x"), .shard = shard, .limit = 1};
        assert_int_equal(list_all(w, q, last), per_shard[shard]);
    }
}

static void test_long_name_is_found_and_removed(void **state) {
    struct world *w = *state;
    char one[NAME_TEXT_MAX], two[NAME_TEXT_MAX];
    long_name(one, 1000, "1");
    long_name(two, 1000, "2");
    assert_int_equal(apply_status(w, put_inline(one, 1, "x")), 0);
    assert_int_equal(apply_status(w, put_inline(two, 2, "x")), 0);
    check_under(w, one, 1, 1000);
    check_under(w, two, 2, 1000);
    assert_int_equal(apply_status(w, rm(one)), 0);
    check_absent(w, one);
    check_under(w, two, 2, 1000);
}

/* ---- pages of references and of the outbox ---- */

static void test_pages_of_references(void **state) {
    struct world *w = *state;
    struct chunk_ref chunks[200];
    for (unsigned i = 0; i < 200; i++) {
        chunks[i] = chunked((uint8_t)i);
    }
    assert_int_equal(apply_status(w, refs(COMMAND_REF_ADD, 1, "f", chunks, 200)), 0);
    assert_int_equal(apply_status(w, refs(COMMAND_REF_ADD, 2, "f", chunks, 100)), 0);
    assert_int_equal(apply_status(w, refs(COMMAND_REF_CONFIRM, 2, "", chunks, 100)), 0);
    static const enum query_kind kinds[] = {QUERY_REFS, QUERY_PENDING};
    for (size_t i = 0; i < 2; i++) {
        struct query q = {.kind = kinds[i], .from_start = true, .limit = 7, .before_ms = UINT64_MAX};
        size_t count = 0;
        for (bool more = true; more; q.from_start = false) {
            struct page_reader p = world_page(w, &q);
            struct ref_row row;
            more = p.more;
            assert_true(p.left <= 7);
            while (page_ref_next(&p, &row) == 0) {
                int order = memcmp(row.digest.bytes, q.after_digest.bytes, DIGEST_SIZE);
                assert_true(order > 0 || (order == 0 && memcmp(row.version.bytes, q.after_version.bytes, 16) > 0));
                assert_int_equal(row.pending, row.version.bytes[0] == 1);
                q.after_digest = row.digest;
                q.after_version = row.version;
                count++;
            }
        }
        assert_int_equal(count, kinds[i] == QUERY_REFS ? 300 : 200);
    }
}

/* Few pending among many: a page that looked long enough ends with a row to go on from. */
static void test_pending_scan_is_bounded(void **state) {
    struct world *w = *state;
    static struct chunk_ref chunks[COMMAND_CHUNKS_MAX];
    uint32_t total = 0;
    while (total <= REFS_SCAN_MAX + COMMAND_CHUNKS_MAX) {
        for (uint32_t i = 0; i < COMMAND_CHUNKS_MAX; i++, total++) {
            digest_of(&total, sizeof(total), &chunks[i].digest);
        }
        assert_int_equal(apply_status(w, refs(COMMAND_REF_ADD, 1, "f", chunks, COMMAND_CHUNKS_MAX)), 0);
        assert_int_equal(apply_status(w, refs(COMMAND_REF_CONFIRM, 1, "", chunks, COMMAND_CHUNKS_MAX)), 0);
    }
    assert_int_equal(apply_status(w, refs(COMMAND_REF_ADD, 2, "f", chunks, COMMAND_CHUNKS_MAX)), 0);
    struct query q = {.kind = QUERY_PENDING, .from_start = true, .before_ms = UINT64_MAX};
    size_t found = 0, pages = 0, others = 0;
    for (bool more = true; more; q.from_start = false, pages++) {
        struct page_reader p = world_page(w, &q);
        struct ref_row row;
        more = p.more;
        assert_true(p.left > 0 || !more);
        while (page_ref_next(&p, &row) == 0) {
            found += row.pending;
            others += !row.pending;
            q.after_digest = row.digest;
            q.after_version = row.version;
        }
    }
    assert_int_equal(found, COMMAND_CHUNKS_MAX);
    assert_in_range(pages, 2, 8);
    assert_in_range(others, 0, pages);
}

static void test_pages_of_the_outbox(void **state) {
    struct world *w = *state;
    struct chunk_ref chunks[] = {chunked(1), chunked(2)};
    char text[32];
    for (uint8_t i = 0; i < 50; i++) {
        snprintf(text, sizeof(text), "f%u", i);
        assert_int_equal(apply_status(w, put_chunks(text, i + 1, chunks, 2)), 0);
        assert_int_equal(apply_status(w, rm(text)), 0);
    }
    struct query q = {.kind = QUERY_OUTBOX, .from_start = true};
    size_t count = 0;
    for (bool more = true; more; q.from_start = false) {
        struct page_reader p = world_page(w, &q);
        struct outbox_row row;
        more = p.more;
        assert_true(p.left <= OUTBOX_PAGE_MAX);
        while (page_outbox_next(&p, w->space, &row) == 0) {
            bool later = row.position > q.position ||
                         (row.position == q.position && memcmp(row.version.bytes, q.version.bytes, VERSION_SIZE) > 0);
            assert_true(later);
            assert_int_equal(row.chunk_count, 2);
            q.position = row.position;
            q.version = row.version;
            count++;
        }
    }
    assert_int_equal(count, 50);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_put_then_read),
        TEST(test_the_foretold_answer_is_the_one_given),
        TEST(test_what_depends_on_the_state_is_not_foretold),
        TEST(test_put_chunks_then_read),
        TEST(test_put_if_absent),
        TEST(test_put_if_match),
        TEST(test_put_of_the_current_version_succeeds_again),
        TEST(test_replaced_chunks_go_to_the_outbox),
        TEST(test_replaced_inline_needs_no_outbox),
        TEST(test_refused_put_changes_nothing),
        TEST(test_version_on_its_way_out_cannot_come_back),
        TEST(test_rm),
        TEST(test_settle_live),
        TEST(test_settled_as_dead_can_never_be_put),
        TEST(test_ref_add),
        TEST(test_ref_del_drops_the_chunk_with_its_last_reference),
        TEST(test_pending_until_confirmed),
        TEST(test_command_outside_the_arc),
        TEST(test_root_command_in_an_arc),
        TEST(test_garbage_is_answered),
        TEST(test_query_outside_the_arc),
        TEST(test_repeat_gets_the_first_answer),
        TEST(test_refusals_are_remembered_too),
        TEST(test_acknowledged_is_stale_and_forgotten),
        TEST(test_promise_about_itself_is_refused),
        TEST(test_clients_of_one_number_in_two_arcs),
        TEST(test_root_and_first_arc_share_no_client_rows),
        TEST(test_idle_clients_are_forgotten),
        TEST(test_many_answers_of_an_idle_client),
        TEST(test_list_in_order_with_prefix),
        TEST(test_list_entry_fields),
        cmocka_unit_test(test_list_of_keys_longer_than_the_index),
        TEST(test_long_and_short_keys_mixed),
        TEST(test_long_name_is_found_and_removed),
        TEST(test_pages_of_references),
        TEST(test_pending_scan_is_bounded),
        TEST(test_pages_of_the_outbox),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
