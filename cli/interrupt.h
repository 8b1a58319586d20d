/* Signals that ask a command to stop, as a file descriptor to poll: no handler, so no state that one would need. */
#ifndef SHOAL_INTERRUPT_H
#define SHOAL_INTERRUPT_H

#include <signal.h>

struct interrupt {
    int fd; /* readable once SIGINT, SIGTERM or SIGHUP came; -1 when it could not be made: signals act as ever */
    sigset_t before;
};

void interrupt_open(struct interrupt *in);
/* Lets the signals act again; one that came takes its usual effect here, so that the caller's shell sees it. */
void interrupt_close(struct interrupt *in);

#endif
