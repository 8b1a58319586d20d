/* Writing a page: CBOR [status, more, count, rows...]. The head depends on the rows, so they are gathered first.
 * Private to this folder; readers are in command.h. */
#ifndef SHOAL_MACHINE_PAGE_H
#define SHOAL_MACHINE_PAGE_H

#include "machine_rows.h"

#define PAGE_BYTES_MAX (256 * 1024)         /* no row is begun past this */
#define PAGE_OUTBOX_BYTES_MAX (1024 * 1024) /* its rows are whole chunk lists */

struct page {
    struct buf rows;
    uint64_t count, count_max;
    size_t bytes_max;
    bool more;
};

void page_init(struct page *p, uint64_t count_max, size_t bytes_max);
void page_release(struct page *p);
/* Room for one more row? If not, the page says that more follow. */
bool page_room(struct page *p);
/* Appends the whole page. An error of the rows is an error of out. */
int page_finish(struct page *p, int status, struct buf *out);

/* Rows; only after page_room. */
void page_put_list(struct page *p, const struct list_entry *e);
void page_put_ref(struct page *p, const struct digest *d, const struct version *v, const struct ref_value *value);
/* The value is what lies in the table: name and chunks are copied as they are encoded. */
void page_put_outbox(struct page *p, uint64_t position, const struct version *v, struct slice value);
void page_put_settings(struct page *p, const struct root_value *root);
void page_put_member(struct page *p, struct slice value);

/* listing.c: QUERY_LIST over a bucket's shard. */
int machine_list(struct txn *t, const struct query *q, struct page *page);

#endif
