/* Addresses as text: what is one, and what is not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "errors.h"
#include "net_addr.h"

static void numeric_addresses_parse_and_format_to_the_same_text(void **state) {
    (void)state;
    static const char *const texts[] = {"192.0.2.1:7440", "127.0.0.1:0", "0.0.0.0:65535", "[::1]:7440",
                                        "[2001:db8::7]:1"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct net_addr addr;
        char text[NET_ADDR_SIZE];
        assert_int_equal(net_addr_parse(texts[i], &addr), 0);
        assert_true(addr.numeric);
        net_addr_format(&addr.sa, text);
        assert_string_equal(text, texts[i]);
    }
}

static void names_are_kept_for_the_resolver(void **state) {
    (void)state;
    struct net_addr addr;
    assert_int_equal(net_addr_parse("node-1.example.org:7440", &addr), 0);
    assert_false(addr.numeric);
    assert_string_equal(addr.host, "node-1.example.org");
    assert_string_equal(addr.port, "7440");
}

static void a_mapped_address_is_written_as_ipv4(void **state) {
    (void)state;
    struct net_addr addr;
    char text[NET_ADDR_SIZE];
    assert_int_equal(net_addr_parse("[::ffff:192.0.2.9]:80", &addr), 0);
    net_addr_format(&addr.sa, text);
    assert_string_equal(text, "192.0.2.9:80");
}

static void garbage_is_refused(void **state) {
    (void)state;
    static const char *const texts[] = {"",
                                        ":",
                                        "host",
                                        "host:",
                                        ":7440",
                                        "host:65536",
                                        "host:-1",
                                        "host:7440 ",
                                        "host:0x50",
                                        "host:999999999999",
                                        "ho st:1",
                                        "-host:1",
                                        "a..b:1",
                                        ".a:1",
                                        "a.:1",
                                        "1.2.3:1",
                                        "1.2.3.4.5:1",
                                        "256.1.1.1:1",
                                        "::1:7440",
                                        "[::1:7440",
                                        "::1]:7440",
                                        "[host]:1",
                                        "[]:1",
                                        "host:7440\n",
                                        "http://host:1",
                                        "h\xc3\xb6st:1"};
    struct net_addr addr;
    memset(&addr, 7, sizeof addr);
    struct net_addr before = addr;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        assert_int_equal(net_addr_parse(texts[i], &addr), ERR_INVALID);
    assert_memory_equal(&addr, &before, sizeof addr);
}

static void a_name_may_be_as_long_as_dns_allows_and_no_longer(void **state) {
    (void)state;
    char text[300];
    struct net_addr addr;
    for (size_t i = 0; i < 253; i++)
        text[i] = i % 64 == 63 ? '.' : 'a';
    memcpy(text + 253, ":1", 3);
    assert_int_equal(net_addr_parse(text, &addr), 0);
    memset(text, 'a', 64);
    assert_int_equal(net_addr_parse(text, &addr), ERR_INVALID);
    text[63] = '.';
    memcpy(text + 253, "a:1", 4);
    assert_int_equal(net_addr_parse(text, &addr), ERR_INVALID);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numeric_addresses_parse_and_format_to_the_same_text),
        cmocka_unit_test(names_are_kept_for_the_resolver),
        cmocka_unit_test(a_mapped_address_is_written_as_ipv4),
        cmocka_unit_test(garbage_is_refused),
        cmocka_unit_test(a_name_may_be_as_long_as_dns_allows_and_no_longer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
