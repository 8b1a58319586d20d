#include "notify.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "check.h"

void notify(const char *state) {
    CHECK(state != NULL);
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    if (path == NULL || (path[0] != '/' && path[0] != '@') || strlen(path) >= sizeof sa.sun_path)
        return;
    size_t size = strlen(path);
    memcpy(sa.sun_path, path, size);
    if (path[0] == '@')
        sa.sun_path[0] = '\0'; /* an abstract name, unix(7): its length counts, not a terminator */
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    socklen_t sa_size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size);
    while (sendto(fd, state, strlen(state), MSG_NOSIGNAL, (const struct sockaddr *)&sa, sa_size) < 0) {
        if (errno != EINTR)
            break;
    }
    close(fd);
}
