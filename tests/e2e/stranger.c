/* A stranger to the swarm, who knocks in every way but the right one.
 *
 *   stranger send PORT|PATH    connects, sends its standard input, and waits until it is hung up on: prints the
 *                              milliseconds that took
 *   stranger flood PORT N      opens N connections and holds on to each until it is hung up on; half of them send
 *                              garbage
 *   stranger port              prints a port that is free
 *
 * Exit status 1 when that takes longer than WAIT_MS. */
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "loopback.h"

#define WAIT_MS 60000
#define BLOCK_SIZE 65536
#define FLOOD_MAX 20000

static int64_t now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int local_connect(const char *path) {
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (strlen(path) >= sizeof sa.sun_path || fd < 0)
        return -1;
    memcpy(sa.sun_path, path, strlen(path) + 1);
    return connect(fd, (const struct sockaddr *)&sa, sizeof sa) == 0 ? fd : -1;
}

/* What the other side says meanwhile is read, so that it is not the one that waits. */
static bool hung_up(int fd) {
    char block[BLOCK_SIZE];
    ssize_t got;
    do
        got = recv(fd, block, sizeof block, MSG_DONTWAIT);
    while (got > 0 || (got < 0 && errno == EINTR));
    return got == 0 || errno != EAGAIN;
}

static bool wait_hung_up(int fd, int64_t until) {
    while (!hung_up(fd)) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        int64_t left = until - now_ms();
        if (left <= 0 || poll(&p, 1, (int)left) <= 0)
            return false;
    }
    return true;
}

static int run_send(const char *address) {
    char block[BLOCK_SIZE];
    int fd = address[0] == '/' ? local_connect(address) : loopback_connect((unsigned)strtoul(address, NULL, 10));
    int64_t began = now_ms();
    size_t size;
    if (fd < 0)
        return 2;
    while ((size = fread(block, 1, sizeof block, stdin)) > 0)
        if (send(fd, block, size, MSG_NOSIGNAL) < 0)
            break; /* hung up on in the middle */
    bool over = wait_hung_up(fd, began + WAIT_MS);
    printf("%lld\n", (long long)(now_ms() - began));
    return over ? 0 : 1;
}

static int run_flood(unsigned port, long count) {
    static const char garbage[300] = "GET / HTTP/1.1\r\n\r\n";
    struct rlimit limit;
    int64_t until = now_ms() + WAIT_MS;
    long open = 0, refused = 0;
    struct pollfd *fds = calloc((size_t)count, sizeof *fds);
    if (fds == NULL || getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return 2;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    for (long i = 0; i < count; i++) {
        int fd = loopback_connect(port);
        refused += fd < 0;
        if (fd < 0)
            continue;
        if (i % 2 == 0 && send(fd, garbage, sizeof garbage, MSG_NOSIGNAL) < 0)
            refused++;
        fds[open++] = (struct pollfd){.fd = fd, .events = POLLIN};
    }
    printf("%ld connections, %ld refused at once\n", open, refused);
    while (open > 0 && now_ms() < until) {
        if (poll(fds, (nfds_t)open, 100) < 0)
            return 2;
        for (long i = 0; i < open;) {
            if (fds[i].revents != 0 && hung_up(fds[i].fd)) {
                close(fds[i].fd);
                fds[i] = fds[--open];
            } else {
                i++;
            }
        }
    }
    printf("%ld still open\n", open);
    free(fds);
    return open == 0 ? 0 : 1;
}

static int run_port(void) {
    unsigned port;
    if (loopback_listen(&port) < 0)
        return 1;
    printf("%u\n", port);
    return 0;
}

int main(int argc, char **argv) {
    if (argc == 3 && strcmp(argv[1], "send") == 0)
        return run_send(argv[2]);
    if (argc == 4 && strcmp(argv[1], "flood") == 0) {
        long count = strtol(argv[3], NULL, 10);
        return count > 0 && count <= FLOOD_MAX ? run_flood((unsigned)strtoul(argv[2], NULL, 10), count) : 2;
    }
    return argc == 2 && strcmp(argv[1], "port") == 0 ? run_port() : 2;
}
