#include "interrupt.h"

#include <sys/signalfd.h>
#include <unistd.h>

#include "check.h"

void interrupt_open(struct interrupt *in) {
    sigset_t set;
    CHECK(sigemptyset(&set) == 0);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    CHECK(sigprocmask(SIG_BLOCK, &set, &in->before) == 0);
    in->fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (in->fd < 0)
        CHECK(sigprocmask(SIG_SETMASK, &in->before, NULL) == 0);
}

/* The signals were blocked, not taken: unblocking delivers them. */
void interrupt_close(struct interrupt *in) {
    if (in->fd < 0)
        return;
    close(in->fd);
    in->fd = -1;
    CHECK(sigprocmask(SIG_SETMASK, &in->before, NULL) == 0);
}
