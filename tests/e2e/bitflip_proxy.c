/* bitflip_proxy TARGET-PORT OFFSET...: a TCP proxy on loopback that damages what passes. Prints its port, then one line
 * for each bit it flipped. The first connection to come by an OFFSET has a bit of the byte there flipped, each
 * connection at most one; once all OFFSETs are used up, connections are left alone. An OFFSET counts what the dialling
 * side sent; one that begins with 'r' counts what came back. */
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "loopback.h"

#define BLOCK_SIZE 65536

/* Shared by the processes: which OFFSETs are used up. */
struct flips {
    char **texts;
    int count;
    atomic_bool *used;
};

struct pipe_end {
    int from, to;
    bool back;   /* carries what comes back to the dialling side */
    long offset; /* of the next byte */
};

static bool send_all(int fd, const char *bytes, size_t size) {
    while (size > 0) {
        ssize_t sent = send(fd, bytes, size, MSG_NOSIGNAL);
        if (sent <= 0)
            return false;
        bytes += sent;
        size -= (size_t)sent;
    }
    return true;
}

/* Damages the block at the first OFFSET in it that is still to be had; whether there was one. */
static bool damage(const struct pipe_end *p, const struct flips *flips, char *block, long size) {
    for (int i = 0; i < flips->count; i++) {
        bool back = flips->texts[i][0] == 'r';
        long at = strtol(flips->texts[i] + back, NULL, 10);
        if (back != p->back || at < p->offset || at >= p->offset + size || atomic_exchange(&flips->used[i], true))
            continue;
        block[at - p->offset] ^= (char)(1 << at % 8);
        printf("flipped %s\n", flips->texts[i]);
        fflush(stdout);
        return true;
    }
    return false;
}

/* False when the connection is over. */
static bool carry(struct pipe_end *p, const struct flips *flips, bool *damaged) {
    char block[BLOCK_SIZE];
    ssize_t got = recv(p->from, block, sizeof block, 0);
    if (got <= 0)
        return false;
    *damaged = *damaged || damage(p, flips, block, got);
    p->offset += got;
    return send_all(p->to, block, (size_t)got);
}

/* One connection, in a process of its own: as soon as one side has gone, so does the other. */
static void serve(int client, unsigned target, const struct flips *flips) {
    int server = loopback_connect(target);
    if (server < 0)
        return;
    struct pipe_end there = {.from = client, .to = server};
    struct pipe_end here = {.from = server, .to = client, .back = true};
    bool damaged = false;
    for (bool open = true; open;) {
        struct pollfd fds[] = {{.fd = client, .events = POLLIN}, {.fd = server, .events = POLLIN}};
        if (poll(fds, 2, -1) < 0)
            return;
        if (fds[0].revents != 0)
            open = carry(&there, flips, &damaged);
        if (open && fds[1].revents != 0)
            open = carry(&here, flips, &damaged);
    }
}

int main(int argc, char **argv) {
    if (argc < 2)
        return 2;
    unsigned target = (unsigned)strtoul(argv[1], NULL, 10), port;
    int listener = loopback_listen(&port);
    struct flips flips = {.texts = argv + 2, .count = argc - 2};
    flips.used = mmap(NULL, (size_t)argc * sizeof *flips.used, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
                      0); /* all false */
    if (listener < 0 || flips.used == MAP_FAILED)
        return 1;
    signal(SIGCHLD, SIG_IGN);
    printf("%u\n", port);
    fflush(stdout);
    for (int client; (client = accept(listener, NULL, NULL)) >= 0; close(client)) {
        if (fork() != 0)
            continue;
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(listener);
        serve(client, target, &flips);
        _exit(0);
    }
    return 1;
}
