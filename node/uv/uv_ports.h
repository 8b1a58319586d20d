/* Making and unmaking the ports on a loop; for uv_world.c only. Closing takes turns of the loop: after *_shut() the
 * loop is run until nothing is alive on it, then *_free(). */
#ifndef SHOAL_UV_PORTS_H
#define SHOAL_UV_PORTS_H

#include <uv.h>

struct clock;
struct net;
struct random;

int clock_new(uv_loop_t *loop, struct clock **ret_clock); /* ERR_NOMEM */
void clock_shut(struct clock *c);
void clock_free(struct clock *c);

int net_new(uv_loop_t *loop, struct net **ret_net); /* ERR_NOMEM */
void net_shut(struct net *n);                       /* no event is reported from here on */
void net_free(struct net *n);

int random_new(struct random **ret_random); /* ERR_NOMEM */
void random_free(struct random *r);

#endif
