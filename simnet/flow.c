/* The bytes of one direction of a connection: launched within a window, delayed by the path, delivered in order. */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "errors.h"
#include "stream.h"

#define SIM_RESEND_US (200 * SIM_MS)
#define SIM_RESENDS_MAX 6
#define SIM_BYTES_PER_US 125 /* one gigabit a second */
#define SIM_LOCAL_US 15
#define SIM_LOCAL_JITTER_US 15
#define SIM_LOCAL_BYTES_PER_US 2000
#define SIM_RETRY_US_MAX (60 * SIM_SECOND) /* how much later than the path a stalled flow may come back */

static struct path *stream_path(const struct stream *st, const struct net_conn *from) {
    const struct net_conn *to = from == &st->ends[0] ? &st->ends[1] : &st->ends[0];
    return st->kind == NET_LOCAL ? NULL : sim_path(st->sim, from->host, to->host);
}

bool stream_blocked(const struct stream *st, const struct net_conn *from) {
    const struct net_conn *to = from == &st->ends[0] ? &st->ends[1] : &st->ends[0];
    const struct path *p = stream_path(st, from);
    return p != NULL && (p->blocked || !st->sim->hosts[to->host - 1].powered);
}

uint64_t stream_clogged_until(const struct stream *st, const struct net_conn *from) {
    const struct path *p = stream_path(st, from);
    return p != NULL && p->clogged_until_us > st->sim->now_us ? p->clogged_until_us : 0;
}

uint64_t stream_delay(struct stream *st, const struct net_conn *from, size_t size) {
    struct path *p = stream_path(st, from);
    if (p == NULL) {
        return SIM_LOCAL_US + prng_exponential(prng_at(&st->sim->local_prng, st->sim->now_us), SIM_LOCAL_JITTER_US) +
               size / SIM_LOCAL_BYTES_PER_US;
    }
    uint64_t delay = p->link.delay_us + prng_exponential(prng_at(&p->delay, st->sim->now_us), p->link.jitter_us) +
                     size / SIM_BYTES_PER_US;
    uint64_t resend = SIM_RESEND_US;
    for (int i = 0; i < SIM_RESENDS_MAX && prng_chance(prng_at(&p->loss, st->sim->now_us), p->link.loss_millionths);
         i++) {
        delay += resend;
        resend *= 2;
    }
    return delay;
}

/* ---- sending ----------------------------------------------------------------------------------------------------- */

static void segment_free(struct segment *g) {
    free(g->bytes);
    free(g);
}

static struct segment *segment_new(struct flow *f, size_t size, uint64_t now_us) {
    struct segment *g = calloc(1, sizeof(*g));
    CHECK(g != NULL);
    g->capacity = size < 512 ? 512 : size;
    g->bytes = malloc(g->capacity);
    CHECK(g->bytes != NULL);
    g->made_us = now_us;
    STAILQ_INSERT_TAIL(&f->segments, g, next);
    if (f->waiting == NULL) {
        f->waiting = g;
    }
    return g;
}

/* The segment that takes the next bytes: the last one while it is of this moment and has room for all of them. */
static struct segment *segment_for(struct flow *f, size_t size, uint64_t now_us) {
    struct segment *g = STAILQ_LAST(&f->segments, segment, next);
    if (g == NULL || g->made_us != now_us || g->taken > 0 || g->size + size > SIM_SEGMENT_MAX) {
        return segment_new(f, size, now_us);
    }
    if (g->size + size > g->capacity) {
        size_t capacity = g->capacity * 2 > g->size + size ? g->capacity * 2 : g->size + size;
        uint8_t *bytes = realloc(g->bytes, capacity);
        CHECK(bytes != NULL);
        g->bytes = bytes;
        g->capacity = capacity;
    }
    return g;
}

static void launch(struct net_conn *from, struct segment *g) {
    struct flow *f = &from->out;
    struct stream *st = from->stream;
    uint64_t at = st->sim->now_us + stream_delay(st, from, g->size) + 1;
    g->at_us = at > f->last_at_us ? at : f->last_at_us;
    CHECK(g->at_us > 0);
    f->last_at_us = g->at_us;
    f->flying += g->size;
    f->unsent -= g->size;
    f->waiting = STAILQ_NEXT(g, next);
    struct path *p = stream_path(st, from);
    if (p != NULL && prng_chance(prng_at(&p->loss, st->sim->now_us), p->link.reset_millionths)) {
        end_fail(from, ERR_IO, g->at_us);
        end_fail(end_peer(from), ERR_IO, g->at_us);
    }
}

/* Something is on its way. */
static bool pending(const struct flow *f) {
    const struct segment *first = STAILQ_FIRST(&f->segments);
    return first != NULL ? first->at_us != 0 : f->fin;
}

static void schedule_arrival(struct net_conn *from) {
    struct flow *f = &from->out;
    struct sim *s = from->stream->sim;
    const struct segment *first = STAILQ_FIRST(&f->segments);
    if (!pending(f) || f->stalled || f->held || f->arrive.slot != 0 || end_peer(from)->state == END_NONE) {
        return;
    }
    uint64_t at = first != NULL ? first->at_us : f->last_at_us;
    events_add(&s->events, &f->arrive, at > s->now_us ? at : s->now_us + 1);
}

void flow_push(struct net_conn *from) {
    struct flow *f = &from->out;
    struct sim *s = from->stream->sim;
    while (f->waiting != NULL && f->flying < SIM_WINDOW && from->state != END_CONNECTING) {
        launch(from, f->waiting);
    }
    if (f->unsent > 0) {
        from->backed_up = true;
    } else if (from->backed_up) {
        from->backed_up = false;
        if (from->state == END_OPEN) {
            events_add(&s->events, &from->drained, s->now_us + SIM_TURN_US);
        } else if (from->state == END_CLOSING) {
            end_fail(from, 0, s->now_us + SIM_TURN_US);
        }
    }
    schedule_arrival(from);
}

uint8_t *flow_extend(struct net_conn *from, size_t size) {
    struct flow *f = &from->out;
    CHECK(!f->fin);
    CHECK(f->unsent + size <= SIM_UNSENT_MAX);
    struct segment *g = segment_for(f, size, from->stream->sim->now_us);
    uint8_t *room = g->bytes + g->size;
    g->size += size;
    if (g->at_us == 0) {
        f->unsent += size;
    } else {
        f->flying += size;
    }
    flow_push(from);
    return room;
}

void flow_append(struct net_conn *from, const uint8_t *bytes, size_t size) {
    while (size > 0) {
        size_t part = size < SIM_SEGMENT_MAX ? size : SIM_SEGMENT_MAX;
        memcpy(flow_extend(from, part), bytes, part);
        bytes += part;
        size -= part;
    }
}

/* Forgets the bytes that were not launched. */
static void drop_unsent(struct flow *f) {
    struct segment *g;
    while ((g = f->waiting) != NULL) {
        f->waiting = STAILQ_NEXT(g, next);
        f->unsent -= g->size;
        STAILQ_REMOVE(&f->segments, g, segment, next);
        segment_free(g);
    }
    CHECK(f->unsent == 0);
}

void flow_finish(struct net_conn *from) {
    struct flow *f = &from->out;
    struct stream *st = from->stream;
    if (!f->fin) {
        f->fin = true;
        uint64_t at = st->sim->now_us + stream_delay(st, from, 0);
        f->last_at_us = at > f->last_at_us ? at : f->last_at_us;
    }
    schedule_arrival(from);
}

void flow_cut(struct net_conn *from, bool silently) {
    drop_unsent(&from->out);
    from->out.unattended = silently;
    if (!silently) {
        flow_finish(from);
    } else if (from->out.stalled || STAILQ_EMPTY(&from->out.segments)) {
        flow_drop(from);
    }
}

void flow_drop(struct net_conn *from) {
    struct flow *f = &from->out;
    struct segment *g;
    while ((g = STAILQ_FIRST(&f->segments)) != NULL) {
        STAILQ_REMOVE_HEAD(&f->segments, next);
        segment_free(g);
    }
    f->waiting = NULL;
    f->unsent = 0;
    f->flying = 0;
    f->unacknowledged = 0;
    f->fin = false;
    f->stalled = false;
    f->held = false;
    events_cancel(&from->stream->sim->events, &f->arrive);
}

/* ---- arriving ---------------------------------------------------------------------------------------------------- */

static void stall_arm(struct net_conn *from) {
    struct sim *s = from->stream->sim;
    if ((from->state == END_OPEN || from->state == END_CLOSING) && from->stall.slot == 0) {
        events_add(&s->events, &from->stall, s->now_us + from->stream->timeout_us);
    }
}

/* The sender learns that `size` more bytes arrived, unless the way back is blocked. */
static void acknowledge(struct net_conn *from, size_t size) {
    struct flow *f = &from->out;
    f->unacknowledged += size;
    if (stream_blocked(from->stream, end_peer(from))) {
        stall_arm(from);
        return;
    }
    CHECK(f->flying >= f->unacknowledged);
    f->flying -= f->unacknowledged;
    f->unacknowledged = 0;
    events_cancel(&from->stream->sim->events, &from->stall);
    flow_push(from);
}

static void garble(struct stream *st, const struct net_conn *from, uint8_t *bytes, size_t size) {
    struct path *p = stream_path(st, from);
    if (p != NULL && p->link.garble_millionths > 0 &&
        prng_chance(prng_at(&p->loss, st->sim->now_us), p->link.garble_millionths)) {
        uint64_t bit = prng_below(prng_at(&p->loss, st->sim->now_us), (uint64_t)size * 8);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

static void deliver(struct net_conn *from, struct net_conn *to) {
    struct flow *f = &from->out;
    struct sim *s = from->stream->sim;
    struct segment *g = STAILQ_FIRST(&f->segments);
    size_t size = g->size - g->taken;
    CHECK(g->at_us != 0 && size > 0);
    if (prng_chance(prng_at(&s->stream_prng, s->now_us), SIM_CUT_MILLIONTHS)) {
        size = 1 + prng_below(prng_at(&s->stream_prng, s->now_us), size);
    }
    uint8_t *bytes = g->bytes + g->taken;
    garble(from->stream, from, bytes, size);
    g->taken += size;
    bool finished = g->taken == g->size;
    if (finished) {
        STAILQ_REMOVE_HEAD(&f->segments, next);
    }
    acknowledge(from, size);
    schedule_arrival(from);
    if (to->state == END_OPEN) {
        sim_happened(s, SIM_RECEIVED, to->host, from->host, bytes, size);
        to->net->events.received(to->net->events.ctx, to, bytes, size);
    }
    if (finished) {
        segment_free(g);
    }
}

static void flow_arrive(struct event *e) {
    struct flow *f = CONTAINER(e, struct flow, arrive);
    struct net_conn *from = CONTAINER(f, struct net_conn, out);
    struct net_conn *to = end_peer(from);
    struct stream *st = from->stream;
    struct sim *s = st->sim;
    uint64_t clogged_until = stream_clogged_until(st, from);
    if (to->state == END_CONNECTING || to->paused) {
        f->held = true;
    } else if (stream_blocked(st, from) && f->unattended) {
        flow_drop(from);
    } else if (stream_blocked(st, from)) {
        f->stalled = true;
        f->stalled_us = s->now_us;
        stall_arm(from);
    } else if (clogged_until > 0) {
        events_add(&s->events, e, clogged_until);
    } else if (to->state == END_CLOSED) {
        /* The kernel answers for a socket that is gone. */
        flow_drop(from);
        end_fail(from, ERR_IO, s->now_us + stream_delay(st, to, 0));
    } else if (!STAILQ_EMPTY(&f->segments)) {
        deliver(from, to);
    } else {
        CHECK(f->fin);
        end_fail(to, ERR_CLOSED, s->now_us);
    }
}

void flow_init(struct net_conn *from, uint32_t to_host) {
    struct flow *f = &from->out;
    *f = (struct flow){0};
    STAILQ_INIT(&f->segments);
    sim_event_init(&f->arrive, flow_arrive, to_host);
}

void flow_retry(struct net_conn *from) {
    struct flow *f = &from->out;
    struct stream *st = from->stream;
    struct sim *s = st->sim;
    if (f->stalled && !stream_blocked(st, from)) {
        /* The longer it lasted, the longer the pause before the next attempt (RFC 6298 §5.5). */
        uint64_t lasted = s->now_us - f->stalled_us;
        uint64_t longest = lasted < SIM_RETRY_US_MAX ? lasted : SIM_RETRY_US_MAX;
        f->stalled = false;
        CHECK(pending(f));
        events_add(&s->events, &f->arrive,
                   s->now_us + 1 + prng_below(prng_at(&s->stream_prng, s->now_us), longest + 1));
    }
    if (f->unacknowledged > 0) {
        acknowledge(from, 0);
    }
}

void flow_unhold(struct net_conn *from) {
    struct flow *f = &from->out;
    if (f->held) {
        f->held = false;
        schedule_arrival(from);
    }
}
