/* What users asked and heard, name by name, and whether it can be true. */
#ifndef SHOAL_HISTORY_H
#define SHOAL_HISTORY_H

#include "linear.h"
#include "user.h"

#define HISTORY_NAMES_MAX 512
#define HISTORY_OPS_MAX 300                          /* of one name; listings and the end of the run may add some */
#define HISTORY_LATE_US (300 * (uint64_t)SIM_SECOND) /* what was not answered may still happen for so long */
#define HISTORY_STEPS_MAX 20000000                   /* of the checker, for one name */

struct history_name {
    char text[USER_NAME_SIZE];
    struct linear_op *ops;
    size_t count, capacity;
    uint8_t version[16]; /* seen last; zeros: none */
    bool promised;       /* something was said to be stored, */
    size_t promised_op;  /* last by this operation */
};

struct history {
    struct sim *sim;
    struct history_name names[HISTORY_NAMES_MAX];
    uint32_t name_count;
    uint64_t answered, unanswered;
};

void history_init(struct history *h, struct sim *s);
void history_release(struct history *h);
uint32_t history_add_name(struct history *h, const char *text);
/* False when the name has had enough operations: longer histories take the checker longer than they are worth. */
bool history_room(const struct history *h, uint32_t name);
/* A request on a name begins: which of its operations it is. PUT, GET, REMOVE, STAT. */
size_t history_call(struct history *h, uint32_t name, const struct user_request *request);
void history_return(struct history *h, uint32_t name, size_t op, const struct user_result *result);
/* Operation `op` on a name has stored something, says the answer. */
void history_promise(struct history *h, uint32_t name, size_t op);
/* Whether what was said to be stored last under a name is there for sure: no other write to it may have taken effect
 * since that one was called. */
bool history_promised(const struct history *h, uint32_t name);
/* A listing said that this name was there with that version, or (NULL) that it was absent. */
void history_listed(struct history *h, uint32_t name, uint64_t call_us, const uint8_t *version);
/* Checks every name. True when all is well; otherwise the first trouble, as one line. */
bool history_check(const struct history *h, char *message, size_t message_size);

#endif
