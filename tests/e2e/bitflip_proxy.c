/* bitflip_proxy TARGET-PORT OFFSET...: a TCP proxy on loopback that damages what passes. Prints its port, then one line
 * for each bit it flipped. Each connection gets one OFFSET, and has a bit of the byte there flipped; one that ends too
 * soon gives its OFFSET back for another. Once all are used up, connections are left alone. An OFFSET counts what the
 * dialling side sent; one that begins with 'r' counts what came back. */
#include <poll.h>
#include <signal.h>
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

/* Of one OFFSET; shared by the processes, each changed by one at a time. */
enum flip_state { FLIP_FREE, FLIP_TAKEN, FLIP_DONE };

struct flip {
    const char *text;
    enum flip_state *state;
};

struct pipe_end {
    int from, to;
    long offset; /* of the next byte */
    long flip;   /* offset of the byte to be damaged; -1: none */
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

/* False when the connection is over. */
static bool carry(struct pipe_end *p, struct flip *flip) {
    char block[BLOCK_SIZE];
    ssize_t got = recv(p->from, block, sizeof block, 0);
    if (got <= 0)
        return false;
    if (p->flip >= p->offset && p->flip < p->offset + got) {
        block[p->flip - p->offset] ^= (char)(1 << p->flip % 8);
        *flip->state = FLIP_DONE;
        printf("flipped %s\n", flip->text);
        fflush(stdout);
    }
    p->offset += got;
    return send_all(p->to, block, (size_t)got);
}

/* One connection, in a process of its own: as soon as one side has gone, so does the other. */
static void serve(int client, unsigned target, struct flip *flip) {
    int server = loopback_connect(target);
    if (server < 0)
        return;
    bool back = flip->text != NULL && flip->text[0] == 'r';
    long at = flip->text != NULL ? strtol(flip->text + back, NULL, 10) : -1;
    struct pipe_end there = {.from = client, .to = server, .flip = back ? -1 : at};
    struct pipe_end here = {.from = server, .to = client, .flip = back ? at : -1};
    for (bool open = true; open;) {
        struct pollfd fds[] = {{.fd = client, .events = POLLIN}, {.fd = server, .events = POLLIN}};
        if (poll(fds, 2, -1) < 0)
            return;
        if (fds[0].revents != 0)
            open = carry(&there, flip);
        if (open && fds[1].revents != 0)
            open = carry(&here, flip);
    }
}

/* The first OFFSET nobody has; without a text when all are used up. */
static struct flip take(char **texts, int count, enum flip_state *states) {
    for (int i = 0; i < count; i++) {
        if (states[i] != FLIP_FREE)
            continue;
        states[i] = FLIP_TAKEN;
        return (struct flip){.text = texts[i], .state = &states[i]};
    }
    return (struct flip){0};
}

int main(int argc, char **argv) {
    if (argc < 2)
        return 2;
    unsigned target = (unsigned)strtoul(argv[1], NULL, 10), port;
    int listener = loopback_listen(&port);
    enum flip_state *states = mmap(NULL, (size_t)argc * sizeof *states, PROT_READ | PROT_WRITE,
                                   MAP_SHARED | MAP_ANONYMOUS, -1, 0); /* all FLIP_FREE */
    if (listener < 0 || states == MAP_FAILED)
        return 1;
    signal(SIGCHLD, SIG_IGN);
    printf("%u\n", port);
    fflush(stdout);
    for (int client; (client = accept(listener, NULL, NULL)) >= 0; close(client)) {
        struct flip flip = take(argv + 2, argc - 2, states);
        if (fork() != 0)
            continue;
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(listener);
        serve(client, target, &flip);
        if (flip.text != NULL && *flip.state == FLIP_TAKEN)
            *flip.state = FLIP_FREE;
        _exit(0);
    }
    return 1;
}
