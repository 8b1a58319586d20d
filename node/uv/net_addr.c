#include "net_addr.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "check.h"
#include "errors.h"

#define LABEL_MAX 63 /* RFC 1035 §2.3.4 */
#define PORT_MAX 65535

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static bool is_name_char(char c) {
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_';
}

static bool label_valid(const char *label, size_t size) {
    if (size == 0 || size > LABEL_MAX || label[0] == '-')
        return false;
    for (size_t i = 0; i < size; i++)
        if (!is_name_char(label[i]))
            return false;
    return true;
}

/* A name whose last label is all digits could only be a mistyped IPv4 address. */
static bool name_valid(const char *host) {
    const char *label = host;
    for (;;) {
        size_t size = strcspn(label, ".");
        if (!label_valid(label, size))
            return false;
        if (label[size] == '\0')
            return strspn(label, "0123456789") != size;
        label += size + 1;
    }
}

static int port_parse(const char *text, struct net_addr *out) {
    size_t size = strlen(text);
    if (size == 0 || size >= sizeof out->port || strspn(text, "0123456789") != size)
        return ERR_INVALID;
    unsigned long number = strtoul(text, NULL, 10);
    if (number > PORT_MAX)
        return ERR_INVALID;
    out->port_number = (uint16_t)number;
    memcpy(out->port, text, size + 1);
    return 0;
}

static int host_parse(const char *text, size_t size, struct net_addr *out) {
    bool bracketed = size >= 2 && text[0] == '[' && text[size - 1] == ']';
    if (bracketed) {
        text++;
        size -= 2;
    }
    if (size == 0 || size >= sizeof out->host)
        return ERR_INVALID;
    memcpy(out->host, text, size);
    out->host[size] = '\0';
    int port = out->port_number;
    out->numeric = true;
    if (bracketed)
        return uv_ip6_addr(out->host, port, &out->in6) == 0 ? 0 : ERR_INVALID;
    if (uv_ip4_addr(out->host, port, &out->in) == 0)
        return 0;
    out->numeric = false;
    return name_valid(out->host) ? 0 : ERR_INVALID;
}

int net_addr_parse(const char *text, struct net_addr *out) {
    CHECK(text != NULL && out != NULL);
    const char *colon = strrchr(text, ':');
    if (colon == NULL || (size_t)(colon - text) > NET_HOST_SIZE + 2)
        return ERR_INVALID;
    struct net_addr addr = {.numeric = false};
    int error = port_parse(colon + 1, &addr);
    if (error == 0)
        error = host_parse(text, (size_t)(colon - text), &addr);
    if (error == 0)
        *out = addr;
    return error;
}

void net_addr_format(const struct sockaddr *sa, char out[NET_ADDR_SIZE]) {
    CHECK(sa->sa_family == AF_INET || sa->sa_family == AF_INET6);
    char host[INET6_ADDRSTRLEN] = "?";
    if (sa->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)sa;
        CHECK(inet_ntop(AF_INET, &in->sin_addr, host, sizeof host) != NULL);
        snprintf(out, NET_ADDR_SIZE, "%s:%u", host, ntohs(in->sin_port));
        return;
    }
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)sa;
    if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr)) {
        CHECK(inet_ntop(AF_INET, &in6->sin6_addr.s6_addr[12], host, sizeof host) != NULL);
        snprintf(out, NET_ADDR_SIZE, "%s:%u", host, ntohs(in6->sin6_port));
        return;
    }
    CHECK(inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof host) != NULL);
    snprintf(out, NET_ADDR_SIZE, "[%s]:%u", host, ntohs(in6->sin6_port));
}
