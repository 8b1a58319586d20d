/* The local node, as a command sees it: a connection to the Unix socket in its data directory, speaking the messages
 * of client.h. Calls block, but never longer than LOCAL_SILENCE_MS without a byte moving.
 *
 * Functions return 0 or an error of errors.h; `error` then holds one line for a person. */
#ifndef SHOAL_LOCAL_H
#define SHOAL_LOCAL_H

#include "buf.h"
#include "cli.h"
#include "client.h"

#define LOCAL_SOCKET "shoal.sock" /* in the data directory */
#define LOCAL_PATH_SIZE 108       /* of a Unix socket's path, with its terminator, unix(7) */
#define LOCAL_SILENCE_MS 120000
#define LOCAL_ERROR_MAX 1024
#define LOCAL_WHAT_MAX 256
#define LOCAL_ANSWERED 1 /* local_send: the node answered before it had everything */

struct local {
    int fd;
    int interrupt_fd;          /* -1, or readable when the user wants to stop: calls then give ERR_ABORTED */
    bool answered;             /* the last request got its answer */
    char what[LOCAL_WHAT_MAX]; /* was asked for: "put docs/a.txt" */
    struct buf in, out;
    char error[LOCAL_ERROR_MAX];
};

/* Connects; local_close() in any case. ERR_UNREACHABLE when no node runs in dir, ERR_REFUSED when it is not ours. */
int local_open(struct local *l, const char *dir, int interrupt_fd);
void local_close(struct local *l);
/* 0, an error, or LOCAL_ANSWERED. */
int local_send(struct local *l, const struct client_message *m);
/* The next message; what it points to is valid until the next call. rows may be NULL. */
int local_receive(struct local *l, struct client_message *ret_message, struct client_rows *ret_rows);
/* Receives an answer of the kind expected. A RESULT that tells of a failure is that failure, with its message. */
int local_expect(struct local *l, enum client_kind kind, struct client_message *ret_message,
                 struct client_rows *ret_rows);
/* What to make of a message that is not what was asked for: the failure it tells of, or ERR_PROTOCOL. */
int local_refused(struct local *l, const struct client_message *m);
/* After this error the connection can carry another request: the node answered, and said no. */
bool local_usable(const struct local *l);
/* The answer was of an unexpected shape: sets error, gives ERR_PROTOCOL. */
int local_broken(struct local *l);

/* For commands of one request and one answer: opens, asks, and complains on failure. *ret_exit is the exit code.
 * 0 or an error; local_close() in any case. */
int local_call(struct local *l, const char *dir, const struct client_message *request, enum client_kind kind,
               struct client_message *ret_message, struct client_rows *ret_rows, int *ret_exit);
/* Complains with `error`, and gives the exit code. */
int local_complain(const struct local *l, int status);

#endif
