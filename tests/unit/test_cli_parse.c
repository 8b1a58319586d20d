/* What people type on the command line, and what they read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "advertise.h"
#include "cli.h"
#include "errors.h"
#include "format.h"
#include "parse.h"

static void sizes_are_read_in_powers_of_1000_and_1024(void **state) {
    (void)state;
    static const struct {
        const char *text;
        uint64_t bytes;
    } good[] = {{"0", 0},
                {"4096", 4096},
                {"17B", 17},
                {"1k", 1024},
                {"1K", 1024},
                {"1kB", 1000},
                {"1KiB", 1024},
                {"500MB", 500000000},
                {"10GiB", 10737418240},
                {"10G", 10737418240},
                {"1.5TiB", 1649267441664},
                {"0.001MB", 1000},
                {"2.5kB", 2500},
                {"15EiB", 17293822569102704640ull},
                {"18446744073709551615", UINT64_MAX}};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        uint64_t v = 7;
        assert_int_equal(parse_size(good[i].text, &v), 0);
        assert_int_equal(v, good[i].bytes);
    }
}

static void what_is_no_size_is_refused(void **state) {
    (void)state;
    static const char *const bad[] = {"",
                                      "GiB",
                                      "-1",
                                      "+1",
                                      " 1",
                                      "1 ",
                                      "1 GiB",
                                      "1X",
                                      "1MiBB",
                                      "1MBi",
                                      "1.",
                                      "1.2345",
                                      "1..5",
                                      "1e3",
                                      "0x10",
                                      "16EiB",
                                      "1bb",
                                      "1KB ",
                                      "18446744073709551616",
                                      "99999999999999999999999",
                                      "18446744073709551615k",
                                      "1BB"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        uint64_t v = 7;
        assert_int_equal(parse_size(bad[i], &v), ERR_INVALID);
        assert_int_equal(v, 7);
    }
}

static void durations_are_sums_of_numbers_with_units(void **state) {
    (void)state;
    static const struct {
        const char *text;
        uint64_t ms;
    } good[] = {{"250ms", 250},     {"30s", 30000},     {"30m", 1800000}, {"1h", 3600000}, {"7d", 604800000},
                {"2w", 1209600000}, {"1h30m", 5400000}, {"1m1ms", 60001}, {"0s", 0}};
    static const char *const bad[] = {"", "1", "h", "1h30", "-1h", "1 h", "1y", "1h ", "1.5h", "99999999999999999w"};
    uint64_t v;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_int_equal(parse_duration(good[i].text, &v), 0);
        assert_int_equal(v, good[i].ms);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        v = 7;
        assert_int_equal(parse_duration(bad[i], &v), ERR_INVALID);
        assert_int_equal(v, 7);
    }
}

static void counts_keep_to_their_range(void **state) {
    (void)state;
    uint64_t v = 7;
    assert_int_equal(parse_count("1", 1, 9, &v), 0);
    assert_int_equal(v, 1);
    assert_int_equal(parse_count("9", 1, 9, &v), 0);
    assert_int_equal(v, 9);
    static const char *const bad[] = {"0", "10", "", "a", "1a", "-1", " 1", "1.0"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(parse_count(bad[i], 1, 9, &v), ERR_INVALID);
    assert_int_equal(v, 9);
}

static void versions_are_32_hex_digits(void **state) {
    (void)state;
    uint8_t v[VERSION_SIZE];
    assert_int_equal(parse_version("000102030405060708090a0b0c0d0eFf", v), 0);
    assert_int_equal(v[10], 10);
    assert_int_equal(v[15], 255);
    assert_int_equal(parse_version("000102030405060708090a0b0c0d0ef", v), ERR_INVALID);
    assert_int_equal(parse_version("000102030405060708090a0b0c0d0effa", v), ERR_INVALID);
    assert_int_equal(parse_version("g00102030405060708090a0b0c0d0eff", v), ERR_INVALID);
}

static void the_base_name_is_the_last_part(void **state) {
    (void)state;
    const char *base = NULL;
    assert_int_equal(parse_base_name("/a/b/c.txt", &base), 0);
    assert_string_equal(base, "c.txt");
    assert_int_equal(parse_base_name("c.txt", &base), 0);
    assert_string_equal(base, "c.txt");
    assert_int_equal(parse_base_name("/a/b/", &base), ERR_INVALID);
    assert_int_equal(parse_base_name("a/..", &base), ERR_INVALID);
    assert_int_equal(parse_base_name(".", &base), ERR_INVALID);
}

static void sizes_are_shown_with_one_decimal(void **state) {
    (void)state;
    static const struct {
        uint64_t bytes;
        const char *text;
    } cases[] = {{0, "0 B"},           {1023, "1023 B"},          {1024, "1.0 KiB"},       {1536, "1.5 KiB"},
                 {1048575, "1.0 MiB"}, {10737418240, "10.0 GiB"}, {UINT64_MAX, "16.0 EiB"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[FORMAT_SIZE_MAX];
        format_size(cases[i].bytes, text);
        assert_string_equal(text, cases[i].text);
    }
}

static void times_are_shown_in_utc(void **state) {
    (void)state;
    char text[FORMAT_TIME_MAX];
    format_time(1234567890999, text);
    assert_string_equal(text, "2009-02-13T23:31:30Z");
    format_time(UINT64_MAX, text);
    assert_string_equal(text, "-");
}

static void json_strings_are_escaped(void **state) {
    (void)state;
    char *text = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);
    assert_non_null(f);
    format_json_pair(f, "name", "a\"b\\c\n\x01\xc3\xa9/", 10);
    fclose(f);
    assert_string_equal(text, "\"name\":\"a\\\"b\\\\c\\u000a\\u0001\xc3\xa9/\"");
    free(text);
}

static void every_error_has_its_exit_code(void **state) {
    (void)state;
    assert_int_equal(cli_exit_of(0), 0);
    assert_int_equal(cli_exit_of(ERR_IO), 1);
    assert_int_equal(cli_exit_of(ERR_REFUSED), 1);
    assert_int_equal(cli_exit_of(ERR_NOT_FOUND), 3);
    assert_int_equal(cli_exit_of(ERR_PRECONDITION), 4);
    assert_int_equal(cli_exit_of(ERR_UNAVAILABLE), 5);
    assert_int_equal(cli_exit_of(ERR_TIMEOUT), 5);
}

static void only_addresses_that_mean_everywhere_are_wildcards(void **state) {
    (void)state;
    static const struct {
        const char *text;
        bool wildcard;
    } cases[] = {{"0.0.0.0:1", true}, {"[::]:1", true}, {"127.0.0.1:1", false}, {"[::1]:1", false}, {"host:1", false}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct net_addr addr;
        assert_int_equal(net_addr_parse(cases[i].text, &addr), 0);
        assert_int_equal(addr_is_wildcard(&addr), cases[i].wildcard);
    }
}

static void a_guessed_address_can_be_dialled_and_keeps_the_port(void **state) {
    (void)state;
    static const char *const listens[] = {"0.0.0.0:7440", "[::]:7440"};
    for (size_t i = 0; i < 2; i++) {
        struct net_addr listen, guess;
        char text[NET_ADDR_SIZE];
        assert_int_equal(net_addr_parse(listens[i], &listen), 0);
        assert_int_equal(advertise_guess(&listen, text, sizeof text), 0);
        assert_int_equal(net_addr_parse(text, &guess), 0);
        assert_false(addr_is_wildcard(&guess));
        assert_string_equal(guess.port, "7440");
        assert_int_equal(advertise_guess(&listen, text, 5), ERR_TOO_LARGE);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_are_read_in_powers_of_1000_and_1024),
        cmocka_unit_test(what_is_no_size_is_refused),
        cmocka_unit_test(durations_are_sums_of_numbers_with_units),
        cmocka_unit_test(counts_keep_to_their_range),
        cmocka_unit_test(versions_are_32_hex_digits),
        cmocka_unit_test(the_base_name_is_the_last_part),
        cmocka_unit_test(sizes_are_shown_with_one_decimal),
        cmocka_unit_test(times_are_shown_in_utc),
        cmocka_unit_test(json_strings_are_escaped),
        cmocka_unit_test(every_error_has_its_exit_code),
        cmocka_unit_test(only_addresses_that_mean_everywhere_are_wildcards),
        cmocka_unit_test(a_guessed_address_can_be_dialled_and_keeps_the_port),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
