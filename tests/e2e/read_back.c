/* read_back PREFIX COUNT DIR...: reads the files PREFIX00000000, PREFIX00000001, ... through the node of each data
 * directory, and prints what came of it, as lines of a history (of `shoal bench --history`). Each node is a client of
 * its own. A read that fails is tried again, for READ_PATIENCE_S. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "digest.h"
#include "errors.h"
#include "identity.h"
#include "local.h"

#define FIRST_CLIENT 1000000000 /* above the clients of a benchmark */
#define READ_PATIENCE_S 30
#define PAUSE_US 100000
#define COUNT_MAX 100000000
#define NAME_SIZE 128

static uint64_t now_ns(void) {
    struct timespec t;
    CHECK(clock_gettime(CLOCK_MONOTONIC, &t) == 0);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* 0 and the digest, or an error. */
static int read_file(const char *dir, const char *name, struct digest *ret_digest) {
    struct local l;
    struct client_message m = {
        .kind = CLIENT_GET,
        .u.get = {.name = {.bytes = name, .size = strlen(name)}, .length = CLIENT_SIZE_UNKNOWN},
    };
    struct buf content;
    buf_init(&content, CLIENT_DATA_MAX);
    int error = local_open(&l, dir, -1);
    if (error == 0)
        error = local_send(&l, &m);
    if (error >= 0)
        error = local_expect(&l, CLIENT_HEAD, &m, NULL);
    while (error == 0 && (error = local_receive(&l, &m, NULL)) == 0 && m.kind == CLIENT_DATA)
        buf_append(&content, m.u.data.bytes, m.u.data.size);
    if (error == 0 && m.kind != CLIENT_END)
        error = local_refused(&l, &m);
    error = error != 0 ? error : content.error;
    if (error == 0)
        digest_of(content.bytes, content.size, ret_digest);
    local_close(&l);
    buf_release(&content);
    return error;
}

static void read_one(const char *dir, unsigned client, const char *name) {
    struct digest d;
    char hex[HEX_SIZE(DIGEST_SIZE)];
    uint64_t began = now_ns(), call = began;
    int error = read_file(dir, name, &d);
    while (error != 0 && error != ERR_NOT_FOUND && now_ns() - began < READ_PATIENCE_S * 1000000000ull) {
        usleep(PAUSE_US);
        call = now_ns();
        error = read_file(dir, name, &d);
    }
    printf("{\"client\":%u,\"op\":\"read\",\"key\":\"%s\",\"value\":", FIRST_CLIENT + client, name);
    if (error == 0) {
        hex_encode(d.bytes, sizeof d.bytes, hex);
        printf("\"%s\"", hex);
    } else {
        printf("null");
    }
    printf(",\"call\":%" PRIu64 ",\"return\":%" PRIu64 ",\"result\":\"%s\"}\n", call, now_ns(),
           error == 0               ? "ok"
           : error == ERR_NOT_FOUND ? "absent"
                                    : "fail");
}

int main(int argc, char **argv) {
    char name[NAME_SIZE];
    long count = argc > 3 ? strtol(argv[2], NULL, 10) : 0;
    if (count <= 0 || count > COUNT_MAX || strlen(argv[1]) > NAME_SIZE / 2 || crypto_init() != 0) {
        fprintf(stderr, "usage: read_back PREFIX COUNT DIR...\n");
        return 2;
    }
    for (int i = 3; i < argc; i++)
        for (long n = 0; n < count; n++) {
            snprintf(name, sizeof name, "%s%08ld", argv[1], n);
            read_one(argv[i], (unsigned)(i - 3), name);
        }
    return fflush(stdout) == 0 ? 0 : 1;
}
