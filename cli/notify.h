/* Telling systemd how the service does: sd_notify(3), protocol only, no library. */
#ifndef SHOAL_NOTIFY_H
#define SHOAL_NOTIFY_H

/* Sends state ("READY=1") to the socket named by $NOTIFY_SOCKET; nothing when it is not set. A service does not fail
 * because nobody listens, so there is nothing to return. */
void notify(const char *state);

#endif
