#include "advertise.h"

#include <ifaddrs.h>
#include <net/if.h>
#include <string.h>

#include "check.h"
#include "errors.h"

bool addr_is_wildcard(const struct net_addr *addr) {
    if (!addr->numeric)
        return false;
    if (addr->sa.sa_family == AF_INET)
        return addr->in.sin_addr.s_addr == htonl(INADDR_ANY);
    CHECK(addr->sa.sa_family == AF_INET6);
    return IN6_IS_ADDR_UNSPECIFIED(&addr->in6.sin6_addr);
}

/* How good an interface's address is: 0 is no good. */
static int address_rank(const struct ifaddrs *i, bool v6_too) {
    if (i->ifa_addr == NULL || !(i->ifa_flags & IFF_UP) || (i->ifa_flags & IFF_LOOPBACK))
        return 0;
    if (i->ifa_addr->sa_family == AF_INET)
        return 2;
    if (i->ifa_addr->sa_family != AF_INET6 || !v6_too)
        return 0;
    struct sockaddr_in6 in6;
    memcpy(&in6, i->ifa_addr, sizeof in6);
    return IN6_IS_ADDR_LINKLOCAL(&in6.sin6_addr) ? 0 : 1;
}

static void take_address(struct net_addr *out, const struct sockaddr *sa, in_port_t port) {
    if (sa->sa_family == AF_INET) {
        memcpy(&out->in, sa, sizeof out->in);
        out->in.sin_port = port;
    } else {
        CHECK(sa->sa_family == AF_INET6);
        memcpy(&out->in6, sa, sizeof out->in6);
        out->in6.sin6_port = port;
    }
}

int advertise_guess(const struct net_addr *listen, char *out, size_t size) {
    CHECK(addr_is_wildcard(listen));
    struct ifaddrs *interfaces;
    char text[NET_ADDR_SIZE];
    bool v6 = listen->sa.sa_family == AF_INET6;
    in_port_t port = v6 ? listen->in6.sin6_port : listen->in.sin_port;
    struct net_addr best = {.in = {.sin_family = AF_INET, .sin_port = port, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}};
    int best_rank = 0;
    if (getifaddrs(&interfaces) != 0)
        return ERR_IO;
    for (const struct ifaddrs *i = interfaces; i != NULL; i = i->ifa_next) {
        int rank = address_rank(i, v6);
        if (rank <= best_rank)
            continue;
        best_rank = rank;
        take_address(&best, i->ifa_addr, port);
    }
    freeifaddrs(interfaces);
    net_addr_format(&best.sa, text);
    if (strlen(text) >= size)
        return ERR_TOO_LARGE;
    memcpy(out, text, strlen(text) + 1);
    return 0;
}
