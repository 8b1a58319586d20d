/* One table of errors for the whole program. It lives in the lowest folder so that everything above may
 * include it. Functions return 0 or one of these; context ("put docs/a.txt: chunk 17: ...") is added outward,
 * into a buffer the caller owns. */
#ifndef SHOAL_ERRORS_H
#define SHOAL_ERRORS_H

/* X(code, name, sentence) */
#define ERR_TABLE(X)                                              \
    X(-1, INVALID, "the input is not valid")                      \
    X(-2, NOMEM, "out of memory")                                 \
    X(-3, IO, "input/output error")                               \
    X(-4, NOT_FOUND, "not found")                                 \
    X(-5, EXISTS, "already exists")                               \
    X(-6, PRECONDITION, "the precondition does not hold")         \
    X(-7, UNAVAILABLE, "unavailable: no quorum answered in time") \
    X(-8, NOT_LEADER, "this replica is not the leader")           \
    X(-9, MOVED, "the group is served elsewhere")                 \
    X(-10, BUSY, "too much is queued: try again")                 \
    X(-11, TOO_LARGE, "too large")                                \
    X(-12, TIMEOUT, "timed out")                                  \
    X(-13, CLOSED, "the connection was closed")                   \
    X(-14, AUTH, "authentication failed")                         \
    X(-15, REFUSED, "refused")                                    \
    X(-16, EXPIRED, "expired")                                    \
    X(-17, USED_UP, "used up")                                    \
    X(-18, CORRUPT, "stored data does not match its digest")      \
    X(-19, NO_SPACE, "no space left on the disk")                 \
    X(-20, ABORTED, "aborted")                                    \
    X(-21, PROTOCOL, "the peer broke the protocol")               \
    X(-22, IN_USE, "already in use")                              \
    X(-23, VERSION, "written by an incompatible version")         \
    X(-24, UNREACHABLE, "cannot be reached")                      \
    X(-25, STALE, "superseded by something newer")

enum shoal_error {
    ERR_NONE = 0,
#define ERR_ENUM(code, name, sentence) ERR_##name = (code),
    ERR_TABLE(ERR_ENUM)
#undef ERR_ENUM
};

/* The sentence for an error code; "ok" for 0, "unknown error" for a code outside the table. Never NULL. */
const char *err_text(int code);
/* The short name ("NOT_FOUND"), for traces and JSON. Never NULL. */
const char *err_name(int code);
/* 1 when `code` is 0 or in the table: what a peer sends as a status must pass this before it is used. */
int err_known(int code);

#endif
