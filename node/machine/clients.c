#include "check.h"
#include "errors.h"
#include "machine_apply.h"

#define CLIENT_IDLE_MS (24ull * 60 * 60 * 1000) /* silent for longer: its answers may go */
#define ANSWERS_DROP_MAX 1024                   /* deleted by one command; what is left over goes with the next */
#define ANSWERS_DROP_EVERY 16                   /* acknowledged ones are deleted so many at once */
#define SWEEP_EVERY 8                           /* which commands of a client look for idle ones */

/* A client that is not known has acknowledged nothing. */
static int client_get(struct applying *a, uint64_t client, struct client_value *out) {
    struct row_key key;
    struct slice value;
    *out = (struct client_value){0};
    row_key_client(a->arc, client, &key);
    int rc = applying_get(a, row_client_table(a->arc), &key, &value);
    if (rc == ERR_NOT_FOUND) {
        return 0;
    }
    if (rc == 0 && client_value_decode(value, out) != 0) {
        rc = ERR_CORRUPT;
    }
    return rc;
}

static int answer_stale(struct buf *result) {
    command_result_encode(&(struct command_result){.status = ERR_STALE}, result);
    return result->error;
}

int machine_client_recall(struct applying *a, const struct command *c, struct buf *result, bool *ret_known) {
    struct row_key key;
    struct slice answer;
    CHECK(c->client != 0);
    *ret_known = true;
    int rc = client_get(a, c->client, &a->client);
    if (rc != 0) {
        return rc;
    }
    if (c->seq < a->client.ack_below) {
        return answer_stale(result);
    }
    row_key_answer(a->arc, c->client, c->seq, &key);
    rc = applying_get(a, row_client_table(a->arc), &key, &answer);
    if (rc == ERR_NOT_FOUND) {
        *ret_known = false;
        return 0;
    }
    if (rc == 0) {
        buf_append(result, answer.bytes, answer.size);
        rc = result->error;
    }
    return rc;
}

/* Deletes some answers of a client with a seq in [0, last]. *ret_left: some may remain. */
static int answers_drop(struct applying *a, uint64_t client, uint64_t last, bool *ret_left) {
    struct row_key from, to;
    size_t deleted = 0;
    row_key_answer(a->arc, client, 0, &from);
    row_key_answer(a->arc, client, last, &to);
    int rc = txn_del_range(a->t, row_client_table(a->arc), row_key_slice(&from), row_key_slice(&to), ANSWERS_DROP_MAX,
                           &deleted);
    CHECK(rc != 0 || deleted <= ANSWERS_DROP_MAX);
    *ret_left = deleted == ANSWERS_DROP_MAX;
    return rc;
}

/* The client whose rows follow those of `client`, around the end of the range. It may be the same one. */
static int client_after(struct applying *a, uint64_t client, uint64_t *ret_client) {
    struct row_key all, last;
    struct slice key, value;
    enum txn_table table = row_client_table(a->arc);
    row_key_clients(a->arc, &all);
    row_key_answer(a->arc, client, UINT64_MAX, &last);
    int rc = txn_next(a->t, table, row_key_slice(&last), &key, &value);
    if (rc == ERR_NOT_FOUND || (rc == 0 && !slice_starts(key, row_key_slice(&all)))) {
        rc = txn_seek(a->t, table, row_key_slice(&all), &key, &value);
    }
    if (rc != 0) {
        return rc;
    }
    if (!slice_starts(key, row_key_slice(&all)) || key.size < all.size + sizeof(*ret_client)) {
        return ERR_CORRUPT;
    }
    *ret_client = get_u64(key.bytes + all.size);
    return 0;
}

/* Every command looks at one neighbour, so idle clients go without any walk over all of them, and at the same entry on
 * every replica: a neighbour that is idle is dropped, and the next command sees the one behind it. */
static int client_sweep(struct applying *a, uint64_t client) {
    uint64_t neighbour = 0;
    struct client_value value;
    bool left = true;
    int rc = client_after(a, client, &neighbour);
    if (rc != 0 || neighbour == client) {
        return rc;
    }
    rc = client_get(a, neighbour, &value);
    if (rc != 0 || a->stamp_ms <= value.stamp_ms || a->stamp_ms - value.stamp_ms <= CLIENT_IDLE_MS) {
        return rc;
    }
    rc = answers_drop(a, neighbour, UINT64_MAX, &left);
    if (rc == 0 && !left) {
        struct row_key key;
        row_key_client(a->arc, neighbour, &key);
        rc = applying_del(a, row_client_table(a->arc), &key);
    }
    return rc;
}

int machine_client_record(struct applying *a, const struct command *c, struct slice answer) {
    struct client_value client = a->client;
    uint64_t before = client.ack_below;
    struct row_key key;
    bool left = false;
    CHECK(c->ack_below <= c->seq);
    row_key_answer(a->arc, c->client, c->seq, &key);
    int rc = txn_put(a->t, row_client_table(a->arc), row_key_slice(&key), answer);
    if (rc != 0) {
        return rc;
    }
    client.ack_below = c->ack_below > client.ack_below ? c->ack_below : client.ack_below;
    client.stamp_ms = a->stamp_ms;
    client_value_encode(&client, &a->row);
    row_key_client(a->arc, c->client, &key);
    rc = applying_put_row(a, row_client_table(a->arc), &key);
    if (rc == 0 && client.ack_below / ANSWERS_DROP_EVERY > before / ANSWERS_DROP_EVERY) {
        rc = answers_drop(a, c->client, client.ack_below - 1, &left);
    }
    return rc == 0 && c->seq % SWEEP_EVERY == 0 ? client_sweep(a, c->client) : rc;
}
