/* Replicas that come and go, are fed and asked: one node of groups, and another that asks it for things a leader would
 * ask for. */
#include "group_host.h"

/* ---- birth and death -----------------------------------------------------------------------------------------------
 */

static void a_removed_replica_never_comes_back(void **state) {
    struct fixture *f = world(state, false);
    expect_create(f, 5, 0);
    assert_int_equal(replica_here(f), 5);
    expect_create(f, 5, 0);
    expect_remove(f, 5, 0);
    assert_int_equal(replica_here(f), 0);
    assert_int_equal(f->hosts[1].removed, 1);
    expect_remove(f, 5, 0);
    expect_create(f, 5, ERR_STALE);
    expect_create(f, 4, ERR_STALE);
    restart(f);
    expect_create(f, 5, ERR_STALE);
    expect_create(f, 6, 0);
    restart(f);
    assert_int_equal(replica_here(f), 6);
    expect_create(f, 5, ERR_STALE);
}

static void a_replica_removed_before_its_creation_arrives_is_never_created(void **state) {
    struct fixture *f = world(state, false);
    expect_remove(f, 5, 0);
    expect_create(f, 5, ERR_STALE);
    restart(f);
    expect_create(f, 5, ERR_STALE);
    assert_int_equal(replica_here(f), 0);
}

static void a_removal_that_overtakes_the_creation_ends_the_older_replica_too(void **state) {
    struct fixture *f = world(state, false);
    expect_create(f, 5, 0);
    expect_remove(f, 7, 0);
    assert_int_equal(replica_here(f), 0);
    expect_create(f, 7, ERR_STALE);
    restart(f);
    expect_create(f, 7, ERR_STALE);
    expect_create(f, 8, 0);
}

static void a_newer_replica_takes_the_place_of_the_older(void **state) {
    struct fixture *f = world(state, false);
    expect_create(f, 5, 0);
    expect_create(f, 9, 0);
    assert_int_equal(replica_here(f), 9);
    expect_create(f, 5, ERR_STALE);
    expect_remove(f, 5, 0);
    assert_int_equal(replica_here(f), 9);
}

static void a_replica_in_a_newer_configuration_is_not_removed(void **state) {
    struct fixture *f = world(state, true);
    expect(f, ask_replica(f, OP_REPLICA_REMOVE, 1, 1), ERR_STALE);
    assert_int_equal(replica_here(f), 1);
}

static void nothing_is_confirmed_before_it_is_durable(void **state) {
    struct fixture *f = world(state, false);
    sim_disk_hang(sim_host(f->sim, 1), sim_now_us(f->sim) + 4 * SIM_SECOND);
    struct answer *first = ask_replica(f, OP_REPLICA_CREATE, 5, 1);
    run_ms(f, 500);
    struct answer *second = ask_replica(f, OP_REPLICA_CREATE, 5, 1);
    run_ms(f, 500);
    struct answer *third = ask_replica(f, OP_REPLICA_REMOVE, 5, 100);
    run_ms(f, 500);
    struct answer *fourth = ask_replica(f, OP_REPLICA_REMOVE, 5, 100);
    run_ms(f, 500);
    assert_false(first->here || second->here || third->here || fourth->here);
    run_ms(f, 3000);
    assert_true(first->here && second->here && third->here && fourth->here);
    assert_int_equal(first->status | second->status | third->status | fourth->status, 0);
}

static void what_is_no_group_or_no_replica_is_refused(void **state) {
    struct fixture *f = world(state, false);
    struct replica_request req = {.group = ARC + 1, .replica = 5, .index = 1};
    struct buf b;
    buf_init(&b, BODY_MAX);
    replica_request_encode(&req, &b);
    expect(f, ask(f, OP_REPLICA_CREATE, &b), ERR_INVALID);
    expect(f, ask(f, OP_REPLICA_REMOVE, &b), ERR_INVALID);
    expect(f, ask(f, OP_REPLICA_CHUNKS, &b), ERR_MOVED);
    buf_clear(&b);
    buf_append(&b, "garbage", 7);
    expect(f, ask(f, OP_REPLICA_CREATE, &b), ERR_PROTOCOL);
    expect(f, ask(f, OP_PROPOSE, &b), ERR_PROTOCOL);
    expect(f, ask(f, OP_SNAPSHOT, &b), ERR_PROTOCOL);
    expect(f, ask_replica(f, OP_REPLICA_CHUNKS, 5, 1), ERR_MOVED);
    buf_release(&b);
}

/* ---- queries ------------------------------------------------------------------------------------------------------
 */

/* The query has its read index, and is on its way to the disk, when the replica and its rows are removed. */
static void a_query_overtaken_by_the_removal_finds_nothing_out(void **state) {
    struct fixture *f = world(state, true);
    struct query q = {.kind = QUERY_USED};
    struct buf query, b;
    buf_init(&query, BODY_MAX);
    buf_init(&b, BODY_MAX);
    query_encode(&q, &query);
    assert_int_equal(query.error, 0);
    struct group_request req = {.group = ARC, .bytes = query.bytes, .size = query.size};
    group_request_encode(&req, &b);
    expect(f, ask(f, OP_QUERY, &b), 0);
    struct answer *overtaken = ask(f, OP_QUERY, &b);
    struct answer *removal = ask_replica(f, OP_REPLICA_REMOVE, 1, 100);
    expect(f, removal, 0);
    expect(f, overtaken, ERR_MOVED);
    buf_release(&query);
    buf_release(&b);
}

/* ---- snapshots ----------------------------------------------------------------------------------------------------
 */

/* The state of a root group with a swarm in it, as one piece for replica `to` of group ROOT. */
static void root_piece(struct fixture *f, uint64_t from, uint64_t to, struct buf *out) {
    const struct machine_arc arc = {.root = true};
    struct command c = {.kind = COMMAND_ROOT_INIT};
    struct machine_effects effects = {0};
    struct machine_cursor cursor;
    struct store *store;
    struct txn *t;
    struct buf bytes, result, rows;
    buf_init(&bytes, BODY_MAX);
    buf_init(&result, BODY_MAX);
    buf_init(&rows, BODY_MAX);
    c.u.init.settings = (struct swarm_settings){.bits = BITS, .replicas = 1};
    memcpy(c.u.init.settings.swarm, f->swarm, sizeof(f->swarm));
    c.u.init.settings.swarm[0] = 1;
    c.u.init.founder = *members_find(f->members, 1);
    command_encode(&c, &bytes);
    assert_int_equal(store_open_mem(&store), 0);
    assert_int_equal(store_begin(store, true, &t), 0);
    assert_int_equal(machine_apply(t, &arc, 1000, bytes.bytes, bytes.size, &result, &effects), 0);
    machine_cursor_init(&cursor);
    assert_int_equal(machine_export(t, &arc, &cursor, MACHINE_PIECE_MAX, &rows), 0);
    assert_true(cursor.done && rows.size > 0 && !rows.error);
    struct snapshot_piece piece = {.from = from,
                                   .to = to,
                                   .term = 3,
                                   .index = 10,
                                   .index_term = 2,
                                   .stamp_ms = 1000,
                                   .config = {.index = 7, .next_id = 20, .count = 2},
                                   .last = true,
                                   .bytes = rows.bytes,
                                   .size = rows.size};
    piece.config.replicas[0] = (struct raft_replica){.id = from == to ? 1 : from, .node = LEADER, .flags = RAFT_VOTER};
    piece.config.replicas[1] = (struct raft_replica){.id = to, .node = 1, .flags = RAFT_LEARNER};
    snapshot_piece_encode(&piece, out);
    store_abort(t);
    store_close(store);
    machine_effects_release(&effects);
    buf_release(&bytes);
    buf_release(&result);
    buf_release(&rows);
}

static struct answer *create_root(struct fixture *f, uint64_t id) {
    struct replica_request req = {.group = GROUPS_ROOT, .replica = id, .index = 1};
    struct buf b;
    buf_init(&b, BODY_MAX);
    replica_request_encode(&req, &b);
    struct answer *a = ask(f, OP_REPLICA_CREATE, &b);
    buf_release(&b);
    return a;
}

static void on_local(void *ctx, int status, const struct raft_config *config, const uint8_t *result, size_t size) {
    struct answer *a = ctx;
    struct page_reader page;
    struct swarm_settings settings;
    uint64_t epoch;
    (void)config;
    a->here = true;
    a->status = status ? status : page_open(result, size, &page);
    a->status = a->status ? a->status : page_root_settings(&page, &settings, &epoch);
}

static int root_status(struct fixture *f) {
    struct query q = {.kind = QUERY_ROOT};
    struct buf b;
    buf_init(&b, BODY_MAX);
    query_encode(&q, &b);
    f->local = (struct answer){.fixture = f};
    groups_query_local(f->hosts[1].groups, GROUPS_ROOT, &b, on_local, &f->local);
    buf_release(&b);
    run_ms(f, 500);
    assert_true(f->local.here);
    return f->local.status;
}

static void a_snapshot_becomes_the_state(void **state) {
    struct fixture *f = world(state, false);
    struct groups_info info;
    struct buf b;
    buf_init(&b, BODY_MAX);
    root_piece(f, 1, 5, &b);
    expect(f, create_root(f, 5), 0);
    assert_int_equal(root_status(f), ERR_NOT_FOUND);
    expect(f, ask(f, OP_SNAPSHOT, &b), 0);
    assert_int_equal(root_status(f), 0);
    groups_info(f->hosts[1].groups, GROUPS_ROOT, &info);
    assert_int_equal(info.applied, 10);
    assert_int_equal(info.config.index, 7);
    restart(f);
    assert_int_equal(root_status(f), 0);
    groups_info(f->hosts[1].groups, GROUPS_ROOT, &info);
    assert_int_equal(info.applied, 10);
    buf_release(&b);
}

static struct answer *send_piece(struct fixture *f, const struct snapshot_piece *whole, uint32_t number, bool last) {
    struct snapshot_piece piece = *whole;
    struct buf b;
    buf_init(&b, BODY_MAX);
    piece.number = number;
    piece.last = last;
    piece.size = number == 0 ? whole->size : 0;
    snapshot_piece_encode(&piece, &b);
    struct answer *a = ask(f, OP_SNAPSHOT, &b);
    buf_release(&b);
    return a;
}

/* A session broke, and with it the answer to a piece: it comes again, and the transfer goes on from there. */
static void a_piece_that_comes_twice_is_staged_once(void **state) {
    struct fixture *f = world(state, false);
    struct snapshot_piece whole;
    struct buf b;
    buf_init(&b, BODY_MAX);
    root_piece(f, 1, 5, &b);
    assert_int_equal(snapshot_piece_decode(b.bytes, b.size, &whole), 0);
    expect(f, create_root(f, 5), 0);
    expect(f, send_piece(f, &whole, 1, false), ERR_STALE); /* the beginning is missing */
    expect(f, send_piece(f, &whole, 0, false), 0);
    expect(f, send_piece(f, &whole, 1, false), 0);
    expect(f, send_piece(f, &whole, 1, false), 0);
    expect(f, send_piece(f, &whole, 3, false), ERR_STALE); /* one is missing */
    expect(f, send_piece(f, &whole, 0, false), 0);         /* from the start: also after something was lost for good */
    expect(f, send_piece(f, &whole, 1, false), 0);
    expect(f, send_piece(f, &whole, 2, true), 0);
    assert_int_equal(root_status(f), 0);
    expect(f, send_piece(f, &whole, 2, true), ERR_STALE); /* it is installed: nothing is wanted any more */
    buf_release(&b);
}

static void blind_put_of(const char *name, uint8_t version, struct buf *out);
static struct answer *ask_put(struct fixture *f, const struct buf *put, bool again); /* takes the bytes */

static void a_transfer_goes_on_where_its_session_broke(void **state) {
    struct fixture *f = *state;
    struct pupil *pupil = &f->hosts[LEADER].pupil;
    f->piece_bytes = 1; /* a row each */
    (void)world(state, true);
    for (uint8_t i = 1; i <= 5; i++) {
        const char name[] = {'a', '/', (char)('a' + i), '\0'};
        struct buf put;
        blind_put_of(name, i, &put);
        expect(f, ask_put(f, &put, false), 0);
    }
    *pupil = (struct pupil){.here = true, .silent_at = 3};
    assert_int_equal(placement_new(f->members, BITS, 2, &f->placement), 0);
    groups_set_placement(f->hosts[1].groups, f->members, f->placement);
    for (int i = 0; i < 10000 && pupil->pieces < 3; i++) {
        run_ms(f, 1);
    }
    assert_int_equal(pupil->pieces, 3);
    assert_int_equal(pupil->highest, 2);
    sim_host_crash(sim_host(f->sim, LEADER), SIM_CRASH_PROCESS);
    sim_host_start(sim_host(f->sim, LEADER));
    run_ms(f, 5000);
    assert_int_equal(pupil->first, 2); /* not from the start */
    assert_true(pupil->highest > 2);
}

/* The removal of the older replica clears the stage: before the first piece for the newer one, never after it. */
static void a_replica_created_and_fed_in_one_turn_keeps_its_first_piece(void **state) {
    struct fixture *f = world(state, false);
    struct buf b;
    buf_init(&b, BODY_MAX);
    root_piece(f, 1, 9, &b);
    expect(f, create_root(f, 5), 0);
    struct answer *created = create_root(f, 9), *fed = ask(f, OP_SNAPSHOT, &b);
    expect(f, created, 0);
    expect(f, fed, 0);
    assert_int_equal(root_status(f), 0);
    buf_release(&b);
}

static void a_snapshot_from_the_replica_itself_is_refused(void **state) {
    struct fixture *f = world(state, false);
    struct buf b;
    buf_init(&b, BODY_MAX);
    root_piece(f, 5, 5, &b);
    expect(f, create_root(f, 5), 0);
    expect(f, ask(f, OP_SNAPSHOT, &b), ERR_INVALID);
    assert_int_equal(root_status(f), ERR_NOT_FOUND);
    buf_release(&b);
}

/* ---- answers before the state is reached --------------------------------------------------------------------------
 */

/* The command of a put that needs no look at the state. */
static void blind_put_of(const char *name, uint8_t version, struct buf *out) {
    struct command c = {.kind = COMMAND_NAME_PUT};
    assert_int_equal(name_parse(name, strlen(name), &c.u.put.name), 0);
    memset(&c.u.put.version, version, sizeof(c.u.put.version));
    c.u.put.condition = CONDITION_ANY;
    c.u.put.is_inline = true;
    c.u.put.bytes = (const uint8_t *)"content";
    c.u.put.size = 7;
    buf_init(out, BODY_MAX);
    command_encode(&c, out);
    assert_int_equal(out->error, 0);
}

static void blind_put(uint8_t version, struct buf *out) {
    blind_put_of("a/b", version, out);
}

static struct answer *ask_put(struct fixture *f, const struct buf *put, bool again) {
    struct buf command = *put, b;
    struct group_request req = {.group = ARC, .again = again, .bytes = command.bytes, .size = command.size};
    buf_init(&b, BODY_MAX);
    group_request_encode(&req, &b);
    struct answer *a = ask(f, OP_PROPOSE, &b);
    buf_release(&command);
    buf_release(&b);
    return a;
}

static struct answer *ask_blind_put(struct fixture *f, uint8_t version, bool again) {
    struct buf command;
    blind_put(version, &command);
    return ask_put(f, &command, again);
}

static void put_result(const struct answer *a, struct command_result *out) {
    struct propose_reply reply;
    assert_true(a->here);
    assert_int_equal(a->status, 0);
    assert_int_equal(propose_reply_decode(a->body, a->size, &reply), 0);
    assert_int_equal(command_result_decode(reply.result, reply.result_size, out), 0);
    assert_int_equal(out->status, 0);
}

/* Host 2 leads as replica 9, in a later term, and has one entry more than host 1 has committed. */
static void append_one(struct fixture *f, struct raft_entry *e, uint64_t commit) {
    struct groups_info info;
    groups_info(f->hosts[1].groups, ARC, &info);
    struct raft_message m = {.kind = RAFT_APPEND,
                             .from = 9,
                             .to = 1,
                             .term = e->term,
                             .index = info.commit,
                             .log_term = info.term,
                             .commit = commit,
                             .entry_count = 1,
                             .entries = &e};
    struct raft_batch batch;
    struct buf *out = peers_control(f->hosts[LEADER].peers, 1);
    assert_non_null(out);
    assert_int_equal(e->index, info.commit + 1);
    peer_raft_begin(&batch, out);
    assert_true(peer_raft_add(&batch, ARC, &m));
    peer_raft_end(&batch);
}

static uint64_t committed(struct fixture *f) {
    struct groups_info info;
    groups_info(f->hosts[1].groups, ARC, &info);
    return info.commit;
}

static uint64_t term(struct fixture *f) {
    struct groups_info info;
    groups_info(f->hosts[1].groups, ARC, &info);
    return info.term;
}

/* The first word of the new leader replaces the entry and says that what replaces it is committed. */
static void a_put_that_was_replaced_is_not_answered_by_the_commit_of_another(void **state) {
    struct fixture *f = world(state, true);
    uint64_t before = committed(f);
    expect(f, ask_blind_put(f, 1, false), 0);
    assert_int_equal(committed(f), before + 1);
    sim_disk_hang(sim_host(f->sim, 1), sim_now_us(f->sim) + 800 * SIM_MS);
    struct answer *replaced = ask_blind_put(f, 2, false);
    run_ms(f, 300);
    assert_false(replaced->here);
    assert_int_equal(committed(f), before + 1);
    struct raft_entry *e = raft_entry_new(before + 2, term(f) + 1, RAFT_ENTRY_NOOP, NULL, 0);
    append_one(f, e, before + 2);
    run_ms(f, 300);
    assert_int_equal(committed(f), before + 2);
    assert_true(replaced->here);
    assert_int_equal(replaced->status, ERR_NOT_LEADER);
    raft_entry_unref(e);
}

/* Whoever leads next may have it in the log, too. */
static void a_put_whose_leader_leads_no_more_may_yet_be_committed(void **state) {
    struct fixture *f = world(state, true);
    uint64_t before = committed(f);
    sim_disk_hang(sim_host(f->sim, 1), sim_now_us(f->sim) + 800 * SIM_MS);
    struct answer *replaced = ask_blind_put(f, 2, false);
    run_ms(f, 300);
    assert_false(replaced->here);
    struct raft_entry *e = raft_entry_new(before + 1, term(f) + 1, RAFT_ENTRY_NOOP, NULL, 0);
    append_one(f, e, before);
    run_ms(f, 300);
    assert_int_equal(committed(f), before);
    assert_true(replaced->here);
    assert_int_equal(replaced->status, ERR_TIMEOUT);
    struct answer *never = ask_blind_put(f, 3, false);
    run_ms(f, 100);
    assert_true(never->here);
    assert_int_equal(never->status, ERR_NOT_LEADER);
    raft_entry_unref(e);
}

/* The clock of the leader before was ahead, and of its last entry nothing has been seen but the log. */
static void a_put_answered_at_commit_tells_the_time_that_it_gets(void **state) {
    struct fixture *f = world(state, true);
    struct groups_info info;
    struct buf command, data;
    struct command_result told, is;
    blind_put(1, &command);
    buf_init(&data, BODY_MAX);
    put_u64(buf_extend(&data, 8), clock_wall_ms(f->hosts[1].ports.clock) + 3600000);
    buf_append(&data, command.bytes, command.size);
    struct raft_entry *e =
        raft_entry_new(committed(f) + 1, term(f) + 1, RAFT_ENTRY_COMMAND, data.bytes, (uint32_t)data.size);
    uint64_t later = e->term + 1;
    sim_disk_slow(sim_host(f->sim, 1), DISK_LOG, 100);
    append_one(f, e, committed(f));
    groups_info(f->hosts[1].groups, ARC, &info);
    for (int i = 0; i < 3000 && !(info.leading && info.term >= later); i++) {
        run_ms(f, 1);
        groups_info(f->hosts[1].groups, ARC, &info);
    }
    assert_true(info.leading && info.applied < e->index);
    struct answer *a = ask_blind_put(f, 2, false);
    for (int i = 0; i < 3000 && !a->here; i++) {
        run_ms(f, 1);
    }
    put_result(a, &told);
    sim_disk_slow(sim_host(f->sim, 1), DISK_LOG, 1);
    run_ms(f, 5000);
    struct answer *b = ask_blind_put(f, 2, true);
    run_ms(f, 5000);
    put_result(b, &is);
    assert_int_equal(told.modified_ms, is.modified_ms);
    raft_entry_unref(e);
    buf_release(&command);
    buf_release(&data);
}

static void a_command_without_a_stamp_is_no_command(void **state) {
    struct fixture *f = world(state, true);
    struct groups_info info;
    for (uint32_t size = 0; size <= 8; size++) {
        uint64_t before = committed(f);
        struct raft_entry *e =
            raft_entry_new(before + 1, term(f) + 1, RAFT_ENTRY_COMMAND, (const uint8_t *)"12345678", size);
        append_one(f, e, before + 1);
        run_ms(f, 5000);
        groups_info(f->hosts[1].groups, ARC, &info);
        assert_true(info.applied > before);
        raft_entry_unref(e);
    }
    restart(f);
    groups_info(f->hosts[1].groups, ARC, &info);
    assert_true(info.here);
}

/* ---- calls --------------------------------------------------------------------------------------------------------
 */

static void on_called(void *ctx, int status, const struct raft_config *config, const uint8_t *result, size_t size) {
    struct answer *a = ctx;
    (void)config;
    (void)result;
    (void)size;
    assert_false(a->here);
    a->here = true;
    a->status = status;
}

/* What host 1 makes of these answers of host 2 to its attempts to put something. */
static int called(struct fixture *f, const int *says, int count) {
    struct buf command;
    blind_put(1, &command);
    f->local = (struct answer){.fixture = f};
    f->hosts[LEADER].says = says;
    f->hosts[LEADER].says_count = count;
    groups_propose(f->hosts[1].groups, ARC, &command, 20000, on_called, &f->local);
    buf_release(&command);
    run_ms(f, 5000);
    assert_true(f->local.here);
    assert_int_equal(f->hosts[LEADER].says_count, 0);
    return f->local.status;
}

static void a_refusal_is_told_unless_an_earlier_attempt_may_succeed(void **state) {
    struct fixture *f = world(state, false);
    const int full[] = {ERR_NO_SPACE};
    const int redirected[] = {ERR_NOT_LEADER, ERR_MOVED, ERR_BUSY, ERR_NO_SPACE};
    const int proposed[] = {ERR_TIMEOUT, ERR_NOT_LEADER, ERR_NO_SPACE};
    groups_set_placement(f->hosts[1].groups, f->members, NULL); /* whom to ask */
    assert_int_equal(called(f, full, 1), ERR_NO_SPACE);
    assert_int_equal(called(f, redirected, 4), ERR_NO_SPACE);
    assert_int_equal(called(f, proposed, 3), ERR_UNAVAILABLE);
}

/* ---- the journal --------------------------------------------------------------------------------------------------
 */

#define LARGE 250000 /* bytes of an entry */
#define HELD 80      /* entries */

/* Of replica 9 to replica 1 of the root group, which holds the snapshot and what follows it. */
static void feed_root(struct fixture *f, uint64_t index, uint64_t log_term, struct raft_entry *e, uint64_t commit) {
    struct raft_message m = {.kind = RAFT_APPEND,
                             .from = 9,
                             .to = 1,
                             .term = 3,
                             .index = index,
                             .log_term = log_term,
                             .commit = commit,
                             .entry_count = e ? 1 : 0,
                             .entries = &e};
    struct raft_batch batch;
    struct buf *out = peers_control(f->hosts[LEADER].peers, 1);
    assert_non_null(out);
    peer_raft_begin(&batch, out);
    assert_true(peer_raft_add(&batch, GROUPS_ROOT, &m));
    peer_raft_end(&batch);
    run_ms(f, 20);
}

static struct raft_status root_log(struct fixture *f) {
    struct groups_glance glance;
    struct raft_status st;
    groups_glance(f->hosts[1].groups, GROUPS_ROOT, &glance);
    assert_non_null(glance.raft);
    raft_status(glance.raft, &st);
    return st;
}

/* Host 1 is fed a snapshot of the root group, and while that becomes its state, many entries behind it. */
static void hold_many(struct fixture *f, const uint8_t *bytes) {
    struct groups_info info;
    struct buf b;
    buf_init(&b, BODY_MAX);
    root_piece(f, 9, 1, &b);
    sim_disk_slow(sim_host(f->sim, 1), DISK_META, 5000);
    struct answer *fed = ask(f, OP_SNAPSHOT, &b);
    for (int i = 0; i < 10000 && !fed->here; i++) {
        run_ms(f, 1);
    }
    assert_true(fed->here && fed->status == 0);
    for (uint64_t i = 0; i < HELD; i++) {
        struct raft_entry *e = raft_entry_new(11 + i, 3, RAFT_ENTRY_COMMAND, bytes, LARGE);
        feed_root(f, 10 + i, i == 0 ? 2 : 3, e, 10);
        raft_entry_unref(e);
    }
    groups_info(f->hosts[1].groups, GROUPS_ROOT, &info);
    assert_true(info.applied < 10);
    assert_int_equal(root_log(f).last, 10 + HELD);
    sim_disk_slow(sim_host(f->sim, 1), DISK_META, 1);
    run_ms(f, 20000);
    groups_info(f->hosts[1].groups, GROUPS_ROOT, &info);
    assert_int_equal(info.applied, 10);
    buf_release(&b);
}

/* What was held is one large batch, and its last entry stays needed while another group goes on. */
static void a_large_batch_with_one_needed_entry_does_not_stay_for_ever(void **state) {
    struct fixture *f = *state;
    f->log_bytes_max = HELD * LARGE;
    (void)world(state, true);
    uint8_t *bytes = calloc(1, LARGE);
    assert_non_null(bytes);
    hold_many(f, bytes);
    feed_root(f, 10 + HELD, 3, NULL, 10 + HELD - 1);
    run_ms(f, 3000);
    assert_int_equal(root_log(f).first, 10 + HELD);
    struct group_request req = {.group = ARC, .bytes = bytes, .size = LARGE};
    struct buf b;
    buf_init(&b, 2 * LARGE);
    group_request_encode(&req, &b);
    for (int i = 0; i < 200; i++) {
        struct answer *a = ask(f, OP_PROPOSE, &b);
        run_ms(f, 300);
        assert_true(a->here && a->status == 0);
    }
    assert_true(store_used_bytes(sim_host_store(sim_host(f->sim, 1), DISK_LOG)) < (uint64_t)2 * JOURNAL_KEEP_BYTES);
    restart(f);
    assert_int_equal(root_log(f).last, 10 + HELD);
    buf_release(&b);
    free(bytes);
}

/* Of the journal of host 1, from that batch on. */
static uint64_t journal_bytes(struct fixture *f, uint64_t batch, uint64_t *ret_next) {
    struct slice key, value;
    struct txn *t;
    uint8_t from[10] = {0};
    uint64_t bytes = 0;
    put_u64(from, batch);
    *ret_next = batch;
    assert_int_equal(store_begin(sim_host_store(sim_host(f->sim, 1), DISK_LOG), false, &t), 0);
    int rc = txn_seek(t, TABLE_LOG, (struct slice){from, sizeof(from)}, &key, &value);
    while (rc == 0) {
        bytes += value.size;
        *ret_next = get_u64(key.bytes) + 1;
        memcpy(from, key.bytes, sizeof(from));
        rc = txn_next(t, TABLE_LOG, (struct slice){from, sizeof(from)}, &key, &value);
    }
    store_abort(t);
    return bytes;
}

/* All of it is needed, so nothing is won by writing it again behind every few bytes of another group. */
static void a_long_journal_that_is_needed_lies_still(void **state) {
    struct fixture *f = *state;
    f->log_bytes_max = HELD * LARGE;
    (void)world(state, true);
    uint8_t *bytes = calloc(1, LARGE);
    uint64_t next, written = 0;
    assert_non_null(bytes);
    hold_many(f, bytes);
    assert_true(journal_bytes(f, 1, &next) > JOURNAL_KEEP_BYTES);
    struct group_request req = {.group = ARC, .bytes = bytes, .size = 100};
    struct buf b;
    buf_init(&b, BODY_MAX);
    group_request_encode(&req, &b);
    for (int i = 0; i < 50; i++) {
        struct answer *a = ask(f, OP_PROPOSE, &b);
        run_ms(f, 300);
        assert_true(a->here && a->status == 0);
        written += journal_bytes(f, next, &next);
    }
    assert_int_equal(root_log(f).first, 11);
    assert_true(written >= 50 * 100);
    assert_true(written < LARGE);
    buf_release(&b);
    free(bytes);
}

/* ---- a state that lags --------------------------------------------------------------------------------------------
 */

#define LOG_MAX (5u << 20) /* four times the usual log_bytes_max, and what comes at once */
#define PROPOSED_MAX (LOG_MAX + RAFT_PENDING_BYTES_MAX)
#define MANY 60

static void hang_state(struct fixture *f, uint64_t ms) {
    sim_disk_hang_one(sim_host(f->sim, 1), DISK_META, sim_now_us(f->sim) + ms * SIM_MS);
}

/* Replica 9 of the root group leads, and appends one to what host 1 has, all of which is committed. */
static void feed_next(struct fixture *f, const uint8_t *bytes) {
    struct groups_glance glance;
    struct raft_status st = root_log(f);
    const struct raft_config *config;
    uint64_t base, log_term;
    groups_glance(f->hosts[1].groups, GROUPS_ROOT, &glance);
    raft_base(glance.raft, &base, &log_term, &config);
    if (st.last > base) {
        log_term = raft_entry_at(glance.raft, st.last)->term;
    }
    uint64_t leads_in = st.leader == 9 ? st.term : st.term + 1;
    struct raft_entry *e = raft_entry_new(st.last + 1, leads_in, RAFT_ENTRY_COMMAND, bytes, LARGE);
    struct raft_message m = {.kind = RAFT_APPEND,
                             .from = 9,
                             .to = 1,
                             .term = leads_in,
                             .index = st.last,
                             .log_term = log_term,
                             .commit = st.last,
                             .entry_count = 1,
                             .entries = &e};
    struct raft_batch batch;
    struct buf *out = peers_control(f->hosts[LEADER].peers, 1);
    assert_non_null(out);
    peer_raft_begin(&batch, out);
    assert_true(peer_raft_add(&batch, GROUPS_ROOT, &m));
    peer_raft_end(&batch);
    run_ms(f, 50);
    raft_entry_unref(e);
}

/* Whoever cannot shorten its log takes no more into it, and goes on from there when it can. */
static void a_follower_whose_state_lags_takes_no_endless_log(void **state) {
    struct fixture *f = world(state, true);
    uint8_t *bytes = calloc(1, LARGE);
    uint64_t before = root_log(f).last;
    assert_non_null(bytes);
    hang_state(f, 6000);
    for (int i = 0; i < MANY; i++) {
        feed_next(f, bytes);
        assert_true(root_log(f).log_bytes < LOG_MAX);
    }
    uint64_t stopped_at = root_log(f).last;
    assert_in_range(stopped_at, before + 10, before + MANY - 10);
    run_ms(f, 5000);
    for (int i = 0; i < MANY; i++) {
        feed_next(f, bytes);
        assert_true(root_log(f).log_bytes < LOG_MAX);
    }
    assert_true(root_log(f).last > stopped_at + MANY / 2);
    free(bytes);
}

static uint64_t arc_log_bytes(struct fixture *f) {
    struct groups_glance glance;
    struct raft_status st;
    groups_glance(f->hosts[1].groups, ARC, &glance);
    assert_non_null(glance.raft);
    raft_status(glance.raft, &st);
    return st.log_bytes;
}

/* The logs of many groups are as long as one of one group: what a node retains has a limit of its own. */
static void a_node_whose_logs_are_long_takes_no_more(void **state) {
    struct fixture *f = *state;
    f->logs_bytes_max = 1u << 20;
    (void)world(state, true);
    uint8_t *bytes = calloc(1, LARGE);
    uint64_t before = root_log(f).last, arc = arc_log_bytes(f);
    struct buf b;
    assert_non_null(bytes);
    hang_state(f, 8000);
    for (int i = 0; i < MANY; i++) {
        feed_next(f, bytes);
        assert_true(root_log(f).log_bytes <= 2 * (uint64_t)f->logs_bytes_max + LARGE + 1000);
    }
    assert_true(root_log(f).last > before + 4);
    /* A group with a short log goes on. */
    struct group_request req = {.group = ARC, .bytes = bytes, .size = 1000};
    buf_init(&b, BODY_MAX);
    group_request_encode(&req, &b);
    (void)ask(f, OP_PROPOSE, &b);
    run_ms(f, 500);
    assert_true(arc_log_bytes(f) >= arc + 1000);
    run_ms(f, 8000);
    before = root_log(f).last;
    feed_next(f, bytes);
    assert_true(root_log(f).last > before);
    buf_release(&b);
    free(bytes);
}

static void on_counted(void *ctx, int status, const struct raft_config *config, const uint8_t *result, size_t size) {
    (void)config;
    (void)result;
    (void)size;
    assert_int_equal(status, 0);
    (*(int *)ctx)++;
}

static void a_leader_whose_state_lags_proposes_no_endless_log(void **state) {
    struct fixture *f = world(state, true);
    struct buf command;
    uint64_t most = 0;
    int answered = 0;
    buf_init(&command, LARGE);
    memset(buf_extend(&command, LARGE), 0, LARGE);
    groups_set_placement(f->hosts[1].groups, f->members, NULL); /* whom to ask */
    hang_state(f, 5000);
    for (int i = 0; i < MANY; i++) {
        groups_propose(f->hosts[1].groups, ARC, &command, 60000, on_counted, &answered);
    }
    for (int i = 0; i < 4500; i++) {
        run_ms(f, 1);
        most = arc_log_bytes(f) > most ? arc_log_bytes(f) : most;
    }
    assert_int_equal(answered, 0);
    assert_in_range(most, 1u << 20, PROPOSED_MAX);
    run_ms(f, 30000);
    assert_int_equal(answered, MANY);
    assert_true(arc_log_bytes(f) < LOG_MAX);
    buf_release(&command);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_removed_replica_never_comes_back),
        TEST(a_replica_removed_before_its_creation_arrives_is_never_created),
        TEST(a_removal_that_overtakes_the_creation_ends_the_older_replica_too),
        TEST(a_newer_replica_takes_the_place_of_the_older),
        TEST(a_replica_in_a_newer_configuration_is_not_removed),
        TEST(nothing_is_confirmed_before_it_is_durable),
        TEST(what_is_no_group_or_no_replica_is_refused),
        TEST(a_query_overtaken_by_the_removal_finds_nothing_out),
        TEST(a_snapshot_becomes_the_state),
        TEST(a_piece_that_comes_twice_is_staged_once),
        TEST(a_transfer_goes_on_where_its_session_broke),
        TEST(a_replica_created_and_fed_in_one_turn_keeps_its_first_piece),
        TEST(a_snapshot_from_the_replica_itself_is_refused),
        TEST(a_put_that_was_replaced_is_not_answered_by_the_commit_of_another),
        TEST(a_put_whose_leader_leads_no_more_may_yet_be_committed),
        TEST(a_put_answered_at_commit_tells_the_time_that_it_gets),
        TEST(a_command_without_a_stamp_is_no_command),
        TEST(a_follower_whose_state_lags_takes_no_endless_log),
        TEST(a_leader_whose_state_lags_proposes_no_endless_log),
        TEST(a_node_whose_logs_are_long_takes_no_more),
        TEST(a_refusal_is_told_unless_an_earlier_attempt_may_succeed),
        TEST(a_long_journal_that_is_needed_lies_still),
        TEST(a_large_batch_with_one_needed_entry_does_not_stay_for_ever),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
