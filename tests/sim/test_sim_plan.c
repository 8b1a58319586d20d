/* The numbered schedule of a run: what is left out leaves the rest as it is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "identity.h"
#include "plan.h"
#include "run.h"
#include "sim.h"

#define LINES_MAX 2000
#define LINE_SIZE 240
#define SECONDS 300

/* ---- selections -------------------------------------------------------------------------------------------------- */

static void a_selection_lists_what_happens_or_what_does_not(void **state) {
    (void)state;
    struct selection s = {.only = true};
    assert_true(selection_parse(&s, "1-5,9,12", 8));
    for (uint32_t n = 0; n < 20; n++) {
        bool listed = (n >= 1 && n <= 5) || n == 9 || n == 12;
        assert_int_equal(selected(&s, n), listed);
        s.only = false;
        assert_int_equal(selected(&s, n), !listed);
        s.only = true;
    }
    selection_release(&s);
    assert_true(selected(&s, 7));
}

static void a_selection_is_written_as_it_is_read(void **state) {
    (void)state;
    const char *const texts[] = {"1-5,9,12", "none", "7", "3-4294967294"};
    char text[64];
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct selection s = {.only = true}, copy;
        assert_true(selection_parse(&s, texts[i], strlen(texts[i])));
        selection_copy(&s, &copy);
        assert_int_equal(selection_format(&copy, text, sizeof(text)), strlen(texts[i]));
        assert_string_equal(text, texts[i]);
        selection_release(&s);
        selection_release(&copy);
    }
    struct selection s = {0};
    assert_true(selection_add(&s, 1, 2) && selection_add(&s, 3, 3) && selection_add(&s, 5, 5));
    assert_int_equal(selection_format(&s, text, 5), 5);
    assert_string_equal(text, "1-3,");
    selection_release(&s);
}

static void what_is_not_a_selection_is_refused(void **state) {
    (void)state;
    const char *const texts[] = {"", "a", "1,", ",1", "5-3", "3,3", "3,2", "1-", "4294967296", "1;2", "99999999999"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct selection s = {0};
        assert_false(selection_parse(&s, texts[i], strlen(texts[i])));
        selection_release(&s);
    }
}

/* ---- faults ------------------------------------------------------------------------------------------------------ */

struct lines {
    char text[LINES_MAX][LINE_SIZE];
    uint32_t count;
};

static void keep_line(void *ctx, uint64_t now_us, const char *line) {
    struct lines *l = ctx;
    if (strstr(line, "loses its disk") != NULL) {
        return; /* it waits for its moment, which what other faults leave decides */
    }
    assert_true(l->count < LINES_MAX);
    assert_true(snprintf(l->text[l->count++], LINE_SIZE, "%llu %s", (unsigned long long)now_us, line) < LINE_SIZE);
}

/* The number of a fault's line, "123 #7 isolate: ..."; 0: of no fault. */
static uint32_t number_of(const char *line) {
    const char *mark = strstr(line, " #");
    return mark != NULL && strcspn(line, " ") == (size_t)(mark - line) ? (uint32_t)strtoul(mark + 2, NULL, 10) : 0;
}

static void play_plan(uint64_t seed, const struct selection *select, struct lines *out) {
    const struct swarm_options options = {
        .seed = seed, .nodes = 4, .bits = 2, .replicas = 3, .capacity = (uint64_t)1 << 30};
    struct swarm w;
    struct plan p;
    swarm_init(&w, &options);
    for (uint32_t number = 1; number <= options.nodes; number++) {
        sim_host_start(sim_host(w.sim, number));
    }
    plan_init(&p, &w);
    p.select = select;
    p.tell = keep_line;
    p.tell_ctx = out;
    plan_start(&p);
    sim_run_until(w.sim, SECONDS * (uint64_t)SIM_SECOND);
    swarm_release(&w);
    plan_release(&p);
}

/* What a fault finds (which hosts are down already, which copies can be spared) other faults decide; its time stays. */
static bool same_fault(const char *a, const char *b) {
    static const char *const finds[] = {" kill: ",    " power: ", " blackout: ", " kill-all: ", " rolling: ",
                                        " stumble: ", " rot: ",   " join: ",     " drain: ",    " lost-disk: "};
    bool found = false;
    for (size_t i = 0; i < sizeof(finds) / sizeof(finds[0]); i++) {
        found = found || strstr(a, finds[i]) != NULL;
    }
    return found ? strncmp(a, b, (size_t)(strstr(a, ": ") - a)) == 0 : strcmp(a, b) == 0;
}

static void skipped_faults_leave_the_others_as_they_are(void **state) {
    (void)state;
    static struct lines all, some;
    uint32_t kept = 0;
    for (uint64_t seed = 1; seed <= 8; seed++) {
        struct selection skip = {0};
        all.count = some.count = 0;
        play_plan(seed, NULL, &all);
        assert_true(selection_parse(&skip, "2,5-9,14", 8));
        play_plan(seed, &skip, &some);
        uint32_t at = 0;
        for (uint32_t i = 0; i < all.count; i++) {
            if (selected(&skip, number_of(all.text[i]))) {
                assert_true(at < some.count);
                assert_true(same_fault(all.text[i], some.text[at]));
                at++;
                kept++;
            }
        }
        assert_int_equal(at, some.count);
        assert_true(some.count < all.count);
        selection_release(&skip);
    }
    assert_true(kept > 100);
}

/* ---- users ------------------------------------------------------------------------------------------------------- */

static void play_run(struct run_options *options, struct lines *out) {
    struct run_result result;
    out->count = 0;
    options->trace_ctx = out;
    options->schedule = keep_line;
    run_seed(options, &result);
    assert_string_equal(result.reason, "");
}

/* Up to the name; conditions depend on what was heard before. */
static bool is_asked(const struct lines *l, const char *line) {
    const char *end = strrchr(line, '\'');
    assert_non_null(end);
    for (uint32_t i = 0; i < l->count; i++) {
        if (strncmp(l->text[i], line, (size_t)(end - line)) == 0) {
            return true;
        }
    }
    return false;
}

static void users_ask_the_same_when_others_do_not(void **state) {
    (void)state;
    static struct lines all, some;
    struct run_options options = {.seed = 3, .nodes = 3, .faults_us = 60 * SIM_SECOND, .bits = 4, .replicas = 3};
    options.faults.only = true;
    play_run(&options, &all);
    for (int i = 0; i < RUN_USERS_MAX; i++) {
        options.asks[i].only = true;
    }
    assert_true(selection_add(&options.asks[1], 3, 12));
    play_run(&options, &some);
    uint32_t asked = 0;
    for (uint32_t i = 0; i < some.count; i++) {
        if (strstr(some.text[i], " at node ") != NULL) {
            assert_non_null(strstr(some.text[i], "user 2 #"));
            assert_true(is_asked(&all, some.text[i]));
            asked++;
        }
    }
    assert_in_range(asked, 8, 10); /* whoever still waits for an answer lets a moment pass */
    selection_release(&options.asks[1]);
}

static void nothing_happens_when_nothing_is_selected(void **state) {
    (void)state;
    static struct lines lines;
    struct run_options options = {.seed = 3, .nodes = 3, .faults_us = 60 * SIM_SECOND, .bits = 4, .replicas = 3};
    options.faults.only = true;
    for (int i = 0; i < RUN_USERS_MAX; i++) {
        options.asks[i].only = true;
    }
    play_run(&options, &lines);
    assert_int_equal(lines.count, 1);
    assert_non_null(strstr(lines.text[0], "everything is healed"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_selection_lists_what_happens_or_what_does_not),
        cmocka_unit_test(a_selection_is_written_as_it_is_read),
        cmocka_unit_test(what_is_not_a_selection_is_refused),
        cmocka_unit_test(skipped_faults_leave_the_others_as_they_are),
        cmocka_unit_test(users_ask_the_same_when_others_do_not),
        cmocka_unit_test(nothing_happens_when_nothing_is_selected),
    };
    return crypto_init() != 0 || cmocka_run_group_tests(tests, NULL, NULL);
}
