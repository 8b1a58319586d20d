/* The real world of one node: a libuv loop and the ports that live on it. One thread, the loop thread, makes every
 * call here. The disk (uv_disk.h) is opened on `loop` by the host, and must be closed before uv_world_release(). */
#ifndef SHOAL_UV_WORLD_H
#define SHOAL_UV_WORLD_H

struct uv_loop_s;
struct net;
struct clock;
struct random;
struct uv_signals;

struct uv_world {
    struct uv_loop_s *loop;
    struct net *net;
    struct clock *clock;
    struct random *random;
    struct uv_signals *signals;
    int stopping;
};

/* crypto_init() comes first. The process ignores SIGPIPE from here on: a broken connection is an error code.
 * ERR_NOMEM, ERR_IO; *w needs no release after an error. */
int uv_world_init(struct uv_world *w);
/* Call `stop` on the loop at the first SIGTERM or SIGINT; a second one ends the process at once, with the exit code
 * a shell gives to a process that died of the signal. ERR_NOMEM, ERR_IO. Once per world. */
int uv_world_on_signal(struct uv_world *w, void (*stop)(void *ctx), void *ctx);
/* Runs the loop until uv_world_stop(), not at all when that came first; may be called again afterwards. */
void uv_world_run(struct uv_world *w);
/* Ends uv_world_run() after the turn of the loop that is under way. */
void uv_world_stop(struct uv_world *w);
/* Closes what is open without calling anyone back, and frees everything. Waits for a name that is being resolved. */
void uv_world_release(struct uv_world *w);

#endif
