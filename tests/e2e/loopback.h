/* Sockets on 127.0.0.1, for the programs of this folder. */
#ifndef SHOAL_TESTS_LOOPBACK_H
#define SHOAL_TESTS_LOOPBACK_H

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

/* A connected socket, or -1. */
static inline int loopback_connect(unsigned port) {
    const struct sockaddr_in sa = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    if (connect(fd, (const struct sockaddr *)&sa, sizeof sa) == 0)
        return fd;
    close(fd);
    return -1;
}

/* A listening socket on a free port, or -1. */
static inline int loopback_listen(unsigned *ret_port) {
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof sa;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    if (bind(fd, (const struct sockaddr *)&sa, sizeof sa) == 0 && listen(fd, SOMAXCONN) == 0 &&
        getsockname(fd, (struct sockaddr *)&sa, &size) == 0) {
        *ret_port = ntohs(sa.sin_port);
        return fd;
    }
    close(fd);
    return -1;
}

#endif
