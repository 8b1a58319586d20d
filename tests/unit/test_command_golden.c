/* The bytes of commands, queries and results are pinned: logs on disk hold them. They are checked in under
 * tests/fuzz/corpus/command (one selector byte, then the message) and seed the fuzzer. After a deliberate change run
 * this program with SHOAL_WRITE_CORPUS=1 and review the difference. */
#include "wire_sweep.h"
#include "machine_families.h"
#include "machine_page.h"

#include <stdio.h>

#define GOLDEN_MAX 8192

typedef void golden_sink(uint8_t family, const char *name, const uint8_t *bytes, size_t size, size_t *faults);

struct golden {
    golden_sink *sink;
    struct buf buf;
    size_t count;
    size_t faults;
};

static void golden_done(struct golden *g, const char *family, const char *name) {
    uint8_t i = 0;
    while (i < FAMILY_COUNT(machine_families) && strcmp(machine_families[i].name, family) != 0) {
        i++;
    }
    assert_true(i < FAMILY_COUNT(machine_families));
    assert_int_equal(g->buf.error, 0);
    g->sink(i, name, g->buf.bytes, g->buf.size, &g->faults);
    g->count++;
    buf_clear(&g->buf);
}

static struct name name_of(const char *text) {
    struct name n;
    assert_int_equal(name_parse(text, strlen(text), &n), 0);
    return n;
}

static struct version version_of(uint8_t byte) {
    struct version v;
    memset(v.bytes, byte, sizeof(v.bytes));
    return v;
}

static struct member member_of(uint32_t node, enum member_state state) {
    struct member m = {.node = node, .state = state, .capacity = 1 << 30, .addr = "10.0.0.1:7400", .zone = "z"};
    memset(m.id, 0x11, sizeof(m.id));
    memset(m.dh, 0x22, sizeof(m.dh));
    return m;
}

static void golden_command(struct golden *g, const char *name, const struct command *c) {
    command_encode(c, &g->buf);
    golden_done(g, "command", name);
}

static void golden_name_commands(struct golden *g) {
    struct chunk_ref chunks[2] = {{.digest = {{1}}, .size = 1 << 20}, {.digest = {{2}}, .size = 7}};
    struct command c = {.client = 9, .seq = 3, .ack_below = 2, .kind = COMMAND_NAME_PUT};
    c.u.put.name = name_of("photos/a.jpg");
    c.u.put.version = version_of(5);
    c.u.put.condition = CONDITION_MATCH;
    c.u.put.match = version_of(4);
    c.u.put.size = 5;
    c.u.put.is_inline = true;
    c.u.put.bytes = (const uint8_t *)"bytes";
    golden_command(g, "put-inline", &c);
    c.u.put.size = (1 << 20) + 7;
    c.u.put.is_inline = false;
    c.u.put.bytes = NULL;
    c.u.put.chunk_count = 2;
    c.u.put.chunks = chunks;
    golden_command(g, "put-chunks", &c);

    c = (struct command){.kind = COMMAND_NAME_RM};
    c.u.rm.name = name_of("a");
    golden_command(g, "rm", &c);

    c = (struct command){.kind = COMMAND_REF_ADD};
    c.u.refs.name = name_of("photos/a.jpg");
    c.u.refs.version = version_of(5);
    c.u.refs.chunk_count = 2;
    c.u.refs.chunks = chunks;
    golden_command(g, "ref-add", &c);
    chunks[0].size = chunks[1].size = 0;
    c.kind = COMMAND_REF_DEL;
    golden_command(g, "ref-del", &c);
    c.kind = COMMAND_REF_CONFIRM;
    golden_command(g, "ref-confirm", &c);

    c = (struct command){.kind = COMMAND_OUTBOX_DONE};
    c.u.version.name = name_of("photos/a.jpg");
    c.u.version.version = version_of(5);
    golden_command(g, "outbox-done", &c);
    c.kind = COMMAND_VERSION_SETTLE;
    golden_command(g, "version-settle", &c);
}

static void golden_root_commands(struct golden *g) {
    struct command c = {.kind = COMMAND_ROOT_INIT};
    memset(c.u.init.settings.swarm, 0x33, sizeof(c.u.init.settings.swarm));
    c.u.init.settings.bits = 10;
    c.u.init.settings.replicas = 3;
    c.u.init.founder = member_of(1, MEMBER_UP);
    golden_command(g, "root-init", &c);
    c = (struct command){.kind = COMMAND_TICKET_ADD};
    c.u.ticket.expires_ms = 1700000000000;
    c.u.ticket.uses = 1;
    golden_command(g, "ticket-add", &c);
    c = (struct command){.kind = COMMAND_MEMBER_JOIN};
    c.u.join.row = member_of(0, MEMBER_JOINING);
    golden_command(g, "member-join", &c);
    c = (struct command){.kind = COMMAND_MEMBER_SET};
    c.u.member = member_of(2, MEMBER_DRAINING);
    golden_command(g, "member-set", &c);
    c = (struct command){.kind = COMMAND_MEMBER_STATE, .u.state = {.node = 300, .seen = 70000, .to = MEMBER_DRAINING}};
    golden_command(g, "member-state", &c);
}

static void golden_queries(struct golden *g) {
    static const char *const names[QUERY_KINDS] = {"name", "list", "pending", "refs", "ref", "used", "outbox", "root"};
    for (int kind = 0; kind < QUERY_KINDS; kind++) {
        struct query q = {.kind = (enum query_kind)kind, .name = name_of("photos/a"), .limit = 100};
        q.shard = NAME_SHARDS - 1;
        memcpy(q.after, "b", 2);
        q.after_size = 1;
        q.before_ms = 5000;
        q.digest.bytes[0] = 1;
        q.version = version_of(3);
        q.position = UINT64_MAX;
        q.from_start = kind % 2 == 1;
        query_encode(&q, &g->buf);
        golden_done(g, "query", names[kind]);
    }
}

static void golden_answers(struct golden *g) {
    struct command_result result = {.status = ERR_PRECONDITION, .version = version_of(6), .modified_ms = 7, .node = 8};
    result.epoch = 9;
    result.live = true;
    command_result_encode(&result, &g->buf);
    golden_done(g, "result", "usual");
    struct name_row row = {.key = "a.jpg", .key_size = 5, .version = version_of(5), .size = 5, .modified_ms = 7};
    row.is_inline = true;
    row.bytes = (const uint8_t *)"bytes";
    name_row_encode(&row, &g->buf);
    golden_done(g, "name-row", "inline");
}

static void golden_page(struct golden *g, struct page *page, const char *family) {
    assert_int_equal(page_finish(page, 0, &g->buf), 0);
    page_release(page);
    golden_done(g, family, "two");
}

static void golden_rows(struct golden *g) {
    struct page page;
    struct list_entry entry = {.key = "a.jpg", .key_size = 5, .version = version_of(5), .size = 6, .modified_ms = 7};
    page_init(&page, 2, PAGE_BYTES_MAX);
    page_put_list(&page, &entry);
    page_put_list(&page, &entry);
    golden_page(g, &page, "list-page");

    struct digest digest = {{1}};
    struct version version = version_of(5);
    struct ref_value ref = {.size = 1 << 20, .pending = true, .stamp_ms = 1700000000000, .name = name_of("b/c")};
    page_init(&page, 2, PAGE_BYTES_MAX);
    page_put_ref(&page, &digest, &version, &ref);
    page_put_ref(&page, &digest, &version, &ref);
    golden_page(g, &page, "refs-page");
}

static void golden_name_answer(struct golden *g) {
    struct chunk_ref chunks[2] = {{.digest = {{1}}, .size = 3}, {.digest = {{2}}, .size = 4}};
    struct name_row row = {.key = "a.jpg", .key_size = 5, .version = version_of(5), .size = 7, .modified_ms = 8};
    row.chunk_count = 2;
    row.chunks = chunks;
    cbor_put_array(&g->buf, 2);
    cbor_put_int(&g->buf, 0);
    name_row_encode(&row, &g->buf);
    golden_done(g, "name-answer", "chunks");
}

static void golden_more_rows(struct golden *g) {
    struct page page;
    struct buf value;
    struct version version = version_of(5);
    struct chunk_ref chunks[2] = {{.digest = {{1}}}, {.digest = {{2}}}};
    struct name name = name_of("b/c");
    buf_init(&value, 4096);
    struct buf list;
    buf_init(&list, 4096);
    fields_put_chunks(&list, chunks, 2);
    outbox_value_encode(&name, (struct slice){list.bytes, list.size}, &value);
    buf_release(&list);
    page_init(&page, 2, PAGE_OUTBOX_BYTES_MAX);
    page_put_outbox(&page, 1, &version, (struct slice){value.bytes, value.size});
    page_put_outbox(&page, UINT64_MAX, &version, (struct slice){value.bytes, value.size});
    golden_page(g, &page, "outbox-page");

    struct root_value root = {.settings = {.bits = 10, .replicas = 3}, .epoch = 4};
    struct member row = member_of(1, MEMBER_UP);
    buf_clear(&value);
    member_row_encode(&row, &value);
    page_init(&page, 2, PAGE_BYTES_MAX);
    page_put_settings(&page, &root);
    page_put_member(&page, (struct slice){value.bytes, value.size});
    golden_page(g, &page, "root-page");
    buf_release(&value);
}

static void golden_each(struct golden *g, golden_sink *sink) {
    *g = (struct golden){.sink = sink};
    buf_init(&g->buf, FAMILY_BUF_MAX);
    golden_name_commands(g);
    golden_root_commands(g);
    golden_queries(g);
    golden_answers(g);
    golden_name_answer(g);
    golden_rows(g);
    golden_more_rows(g);
    buf_release(&g->buf);
}

static void compare(uint8_t family, const char *name, const uint8_t *bytes, size_t size, size_t *faults) {
    char path[4096];
    uint8_t stored[GOLDEN_MAX] = {0};
    int length = snprintf(path, sizeof(path), "%s/../../fuzz/corpus/command/%s.%s", TEST_DATA,
                          machine_families[family].name, name);
    assert_true(length > 0 && (size_t)length < sizeof(path));
    if (getenv("SHOAL_WRITE_CORPUS")) {
        FILE *out = fopen(path, "wb");
        assert_non_null(out);
        assert_int_equal(fwrite(&family, 1, 1, out), 1);
        assert_int_equal(fwrite(bytes, 1, size, out), size);
        assert_int_equal(fclose(out), 0);
    }
    FILE *in = fopen(path, "rb");
    size_t got = in ? fread(stored, 1, sizeof(stored), in) : 0;
    if (in) {
        assert_int_equal(fclose(in), 0);
    }
    bool same = got == size + 1 && stored[0] == family && memcmp(stored + 1, bytes, size) == 0;
    if (!same) {
        print_error("%s: the encoding differs\n", path);
        (*faults)++;
    }
}

static void damage(uint8_t family, const char *name, const uint8_t *bytes, size_t size,
                   size_t *faults) { // NOLINT(readability-non-const-parameter): the type of a visitor
    (void)faults;
    print_message("%s.%s\n", machine_families[family].name, name);
    sweep(machine_families[family].pass, bytes, size);
}

static void test_encodings_are_as_checked_in(void **state) {
    (void)state;
    struct golden g;
    golden_each(&g, compare);
    assert_int_equal(g.count, 28);
    assert_int_equal(g.faults, 0);
}

static void test_commands_withstand_damage(void **state) {
    (void)state;
    struct golden g;
    golden_each(&g, damage);
    assert_int_equal(g.count, 28);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_encodings_are_as_checked_in),
        cmocka_unit_test(test_commands_withstand_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
