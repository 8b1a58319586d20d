/* The wire format is pinned: every sample encodes to the bytes checked in under tests/fuzz/corpus (one selector byte,
 * then the message), which also seed the fuzzers. After a deliberate change of the format run this program with
 * SHOAL_WRITE_CORPUS=1 and review the difference. */
#include "wire_sweep.h"
#include "wire_samples.h"

#include <stdio.h>

#define SAMPLE_MAX 8192

struct golden {
    size_t count;
    size_t unreadable;
    size_t different;
};

static void golden_path(char *out, size_t capacity, const char *corpus, const char *file) {
    int length = snprintf(out, capacity, "%s/../../fuzz/corpus/%s/%s", TEST_DATA, corpus, file);
    assert_true(length > 0 && (size_t)length < capacity);
}

static const char *family_name(const char *corpus, uint8_t family) {
    if (strcmp(corpus, "peer") == 0) {
        return peer_families[family].name;
    }
    return strcmp(corpus, "raft") == 0 ? raft_families[family].name : client_families[family].name;
}

static void write_golden(const char *path, uint8_t family, const uint8_t *bytes, size_t size) {
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(&family, 1, 1, f), 1);
    assert_int_equal(fwrite(bytes, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
}

static void compare_golden(void *ctx, const char *corpus, uint8_t family, const char *name, const uint8_t *bytes,
                           size_t size) {
    struct golden *g = ctx;
    char file[128];
    char path[4096];
    uint8_t stored[SAMPLE_MAX];
    assert_true(snprintf(file, sizeof(file), "%s.%s", family_name(corpus, family), name) > 0);
    golden_path(path, sizeof(path), corpus, file);
    g->count++;
    if (getenv("SHOAL_WRITE_CORPUS")) {
        write_golden(path, family, bytes, size);
    }
    FILE *f = fopen(path, "rb");
    if (!f) {
        print_error("%s: cannot be read\n", path);
        g->unreadable++;
        return;
    }
    size_t got = fread(stored, 1, sizeof(stored), f);
    assert_int_equal(fclose(f), 0);
    if (got != size + 1 || stored[0] != family || memcmp(stored + 1, bytes, size) != 0) {
        print_error("%s: the encoding differs\n", path);
        g->different++;
    }
}

static void test_encodings_are_as_checked_in(void **state) {
    (void)state;
    struct golden g = {0};
    samples_each(compare_golden, &g);
    assert_true(g.count > 40);
    assert_int_equal(g.unreadable, 0);
    assert_int_equal(g.different, 0);
}

static void sweep_sample(void *ctx, const char *corpus, uint8_t family, const char *name, const uint8_t *bytes,
                         size_t size) {
    const char *wanted = ctx;
    if (strcmp(corpus, wanted) != 0) {
        return;
    }
    print_message("%s.%s\n", family_name(corpus, family), name);
    if (strcmp(corpus, "peer") == 0) {
        sweep(peer_families[family].pass, bytes, size);
    } else if (strcmp(corpus, "raft") == 0) {
        sweep(raft_families[family].pass, bytes, size);
    } else {
        sweep(client_families[family].pass, bytes, size);
    }
}

static void test_peer_messages_withstand_damage(void **state) {
    (void)state;
    samples_each(sweep_sample, (char[]){"peer"});
}

static void test_raft_messages_withstand_damage(void **state) {
    (void)state;
    samples_each(sweep_sample, (char[]){"raft"});
}

static void test_client_messages_withstand_damage(void **state) {
    (void)state;
    samples_each(sweep_sample, (char[]){"client"});
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_encodings_are_as_checked_in),
        cmocka_unit_test(test_peer_messages_withstand_damage),
        cmocka_unit_test(test_raft_messages_withstand_damage),
        cmocka_unit_test(test_client_messages_withstand_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
