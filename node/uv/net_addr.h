/* Addresses as text: "host:port", where host is a name (RFC 1123 §2.1), an IPv4 address, or an IPv6 address in
 * brackets (RFC 3986 §3.2.2). */
#ifndef SHOAL_NET_ADDR_H
#define SHOAL_NET_ADDR_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#define NET_HOST_SIZE 254 /* RFC 1035 §2.3.4: 253 characters as text */
#define NET_ADDR_SIZE 264 /* host, brackets, colon, port, terminator */

struct net_addr {
    char host[NET_HOST_SIZE]; /* without brackets */
    char port[6];             /* decimal, as getaddrinfo wants it */
    uint16_t port_number;
    bool numeric; /* sa below is set: nothing to resolve */
    union {
        struct sockaddr sa;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
    };
};

/* ERR_INVALID for anything else; port 0 counts as valid. */
int net_addr_parse(const char *text, struct net_addr *out);
/* "192.0.2.1:7440" or "[2001:db8::1]:7440"; an IPv4 address mapped into IPv6 is written as IPv4. */
void net_addr_format(const struct sockaddr *sa, char out[NET_ADDR_SIZE]);

#endif
