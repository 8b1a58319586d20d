/* A listing: the names of a bucket lie in NAME_SHARDS ordered streams; a page is their merge. Every stream is asked
 * for as many names as the page wants, so the smallest names of all are among the answers; where a stream was cut
 * short, the merge stops rather than skip what it did not see. */
#include <stdlib.h>
#include <string.h>

#include "internal.h"

#define LIST_LIMIT_MAX 500

struct stream {
    struct list *list;
    uint8_t *answer;
    struct page_reader page;
    struct list_entry head;
    bool has_head;
};

struct list {
    struct files *files;
    TAILQ_ENTRY(list) link;
    struct timer timer;
    struct name bucket; /* key: the prefix */
    uint32_t limit, open;
    struct stream streams[NAME_SHARDS];
    struct files_result result;
    files_list_cb *done;
    void *ctx;
};

static void list_free(struct list *l) {
    TAILQ_REMOVE(&l->files->lists, l, link);
    timer_stop(l->files->params.timers, &l->timer);
    for (int i = 0; i < NAME_SHARDS; i++) {
        free(l->streams[i].answer);
    }
    free(l);
}

static void list_report(struct list *l, const struct files_entry *entries, uint32_t count, bool more) {
    l->done(l->ctx, &l->result, entries, count, more);
    list_free(l);
}

static void list_fire(struct timer *t) {
    struct list *l = (struct list *)((char *)t - offsetof(struct list, timer));
    list_report(l, NULL, 0, false);
}

static int compare(const struct list_entry *a, const struct list_entry *b) {
    size_t common = a->key_size < b->key_size ? a->key_size : b->key_size;
    int order = memcmp(a->key, b->key, common);
    return order ? order : (a->key_size > b->key_size) - (a->key_size < b->key_size);
}

static int advance(struct stream *s) {
    int rc = page_list_next(&s->page, &s->head);
    s->has_head = rc == 0;
    return rc == ERR_NOT_FOUND ? 0 : rc;
}

static void to_entry(const struct list *l, const struct list_entry *from, struct files_entry *out) {
    struct name n = l->bucket;
    memcpy(n.key, from->key, from->key_size);
    n.key[from->key_size] = 0;
    n.key_size = from->key_size;
    out->name_size = name_text(&n, out->name);
    out->version = from->version;
    out->size = from->size;
    out->modified_ms = from->modified_ms;
}

/* The next smallest; NULL when there is none, or none that is certain to be the smallest. */
static struct stream *smallest(struct list *l, bool *ret_more) {
    struct stream *found = NULL;
    for (int i = 0; i < NAME_SHARDS; i++) {
        struct stream *s = &l->streams[i];
        if (!s->has_head && s->page.more) {
            *ret_more = true;
            return NULL;
        }
        if (s->has_head && (!found || compare(&s->head, &found->head) < 0)) {
            found = s;
        }
    }
    return found;
}

static void merge(struct list *l) {
    struct files_entry *entries = calloc(l->limit, sizeof(*entries));
    struct stream *s;
    uint32_t count = 0;
    bool more = false;
    int rc = entries ? 0 : ERR_NOMEM;
    for (int i = 0; i < NAME_SHARDS && !rc; i++) {
        rc = advance(&l->streams[i]);
    }
    while (!rc && count < l->limit && (s = smallest(l, &more))) {
        to_entry(l, &s->head, &entries[count++]);
        rc = advance(s);
    }
    if (!rc && count == l->limit && smallest(l, &more)) {
        more = true;
    }
    if (rc) {
        files_fail(&l->result, rc, "ls", l->bucket.bucket, l->bucket.bucket_size, NULL);
    }
    list_report(l, entries, rc ? 0 : count, more);
    free(entries);
}

static void listed(void *ctx, int status, const struct raft_config *config, const uint8_t *result, size_t size) {
    struct stream *s = ctx;
    struct list *l = s->list;
    (void)config;
    int rc = status;
    if (!rc) {
        s->answer = malloc(size ? size : 1);
        CHECK(s->answer);
        memcpy(s->answer, result, size);
        rc = page_open(s->answer, size, &s->page);
    }
    if (rc && !l->result.status) {
        files_fail(&l->result, rc, "ls", l->bucket.bucket, l->bucket.bucket_size, NULL);
    }
    if (--l->open > 0) {
        return;
    }
    if (l->result.status) {
        list_report(l, NULL, 0, false);
    } else {
        merge(l);
    }
}

/* "" or no slash: bucket default and a prefix of its keys; otherwise bucket/prefix. */
static int parse_prefix(const char *prefix, size_t size, struct name *out) {
    const char *slash = memchr(prefix, '/', size);
    size_t bucket_size = slash ? (size_t)(slash - prefix) : strlen("default");
    const char *bucket = slash ? prefix : "default";
    const char *key = slash ? slash + 1 : prefix;
    size_t key_size = size - (size_t)(key - prefix);
    if (bucket_size == 0 || bucket_size > NAME_BUCKET_MAX || key_size > NAME_KEY_MAX) {
        return ERR_INVALID;
    }
    *out = (struct name){.bucket_size = bucket_size, .key_size = key_size};
    memcpy(out->bucket, bucket, bucket_size);
    memcpy(out->key, key, key_size);
    /* A whole name is checked as a name; an empty prefix stands for one with any key. */
    char text[NAME_TEXT_MAX + 1];
    struct name parsed;
    memcpy(text, bucket, bucket_size);
    text[bucket_size] = '/';
    memcpy(text + bucket_size + 1, key_size ? key : "x", key_size ? key_size : 1);
    return name_parse(text, bucket_size + 1 + (key_size ? key_size : 1), &parsed);
}

static void ask(struct list *l, const char *after, size_t after_size) {
    struct groups *g = l->files->params.groups;
    struct query q = {.kind = QUERY_LIST, .name = l->bucket, .limit = l->limit};
    memcpy(q.after, after, after_size);
    q.after_size = after_size;
    l->open = NAME_SHARDS;
    for (unsigned i = 0; i < NAME_SHARDS; i++) {
        struct buf b;
        buf_init(&b, PEER_BODY_MAX);
        q.shard = i;
        l->streams[i].list = l;
        query_encode(&q, &b);
        uint64_t position = name_shard_position(l->bucket.bucket, l->bucket.bucket_size, i);
        groups_query(g, groups_of(g, position), &b, FILES_TIMEOUT_MS, listed, &l->streams[i]);
        buf_release(&b);
    }
}

void files_list(struct files *f, const char *prefix, size_t prefix_size, const char *after, size_t after_size,
                uint32_t limit, files_list_cb *done, void *ctx) {
    struct list *l = calloc(1, sizeof(*l));
    struct name from = {0};
    CHECK(l);
    l->files = f;
    l->timer.fire = list_fire;
    l->limit = limit == 0 || limit > LIST_LIMIT_MAX ? LIST_LIMIT_MAX : limit;
    l->done = done;
    l->ctx = ctx;
    TAILQ_INSERT_TAIL(&f->lists, l, link);
    int rc = parse_prefix(prefix, prefix_size, &l->bucket);
    rc = rc || after_size == 0 ? rc : name_parse(after, after_size, &from);
    if (rc) {
        files_fail(&l->result, rc, "ls", "", 0, "not a prefix: use '', key… or bucket/key…");
        timer_start(f->params.timers, &l->timer, clock_now_ms(f->params.clock));
    } else {
        ask(l, from.key, from.key_size);
    }
}

void list_release(struct files *f) {
    while (!TAILQ_EMPTY(&f->lists)) {
        list_free(TAILQ_FIRST(&f->lists));
    }
}
