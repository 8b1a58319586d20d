/* shoal node: one node in the foreground. Opens the data directory, gives the node its ports, runs the loop, and takes
 * all of it down again in order. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>

#include "check.h"
#include "cli.h"
#include "datadir.h"
#include "errors.h"
#include "local.h"
#include "net.h"
#include "node.h"
#include "noise.h"
#include "node_options.h"
#include "notify.h"
#include "random.h"
#include "uv_disk.h"
#include "uv_world.h"

#define NODE_FILES_WANTED 65536 /* file descriptors; the hard limit when that is lower */
#define LOG_TIME_MAX 32
#define READY_ID 6 /* bytes of an id that are enough for a person to tell nodes apart */
#define NODE_LINE_MAX 512

struct host {
    struct datadir dir;
    struct node_options options;
    struct identity identity;
    struct uv_world world;
    struct disk *disk;
    struct node *node;
    bool has_identity, has_world;
    bool served; /* it was ready once */
    bool failed;
    char local[PATH_MAX]; /* path of the Unix socket */
};

/* --- what the node tells us ------------------------------------------------------------------------------------- */

static void host_log(void *ctx, const char *line) {
    (void)ctx;
    char stamp[LOG_TIME_MAX], copy[NODE_LINE_MAX];
    struct timespec now;
    struct tm tm;
    CHECK(clock_gettime(CLOCK_REALTIME, &now) == 0);
    CHECK(gmtime_r(&now.tv_sec, &tm) != NULL);
    CHECK(strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &tm) > 0);
    snprintf(copy, sizeof copy, "%s", line);
    cli_sanitise(copy);
    fprintf(stderr, "%s.%03ldZ %s\n", stamp, now.tv_nsec / 1000000, copy);
}

static void host_on_ready(void *ctx, const struct node_ready *ready) {
    struct host *h = ctx;
    h->served = true;
    char id[HEX_SIZE(READY_ID)], swarm[HEX_SIZE(READY_ID)], state[NODE_LINE_MAX];
    hex_encode(h->identity.public_key, READY_ID, id);
    hex_encode(ready->swarm, READY_ID, swarm);
    printf("ready: node %u (%s) of swarm %s at %s, %u arcs, %u replicas\n", ready->node, id, swarm, ready->addr,
           ready->arcs, ready->replicas);
    fflush(stdout);
    snprintf(state, sizeof state, "READY=1\nSTATUS=node %u of swarm %s at %s", ready->node, swarm, ready->addr);
    notify(state);
}

/* Called from deep inside the node: only noted here, and acted on when the loop has ended its turn. */
static void host_on_failed(void *ctx, int status, const char *message) {
    struct host *h = ctx;
    CHECK(status < 0);
    cli_error("%s", message != NULL && message[0] != '\0' ? message : err_text(status));
    h->failed = true;
    uv_world_stop(&h->world);
}

/* Not a failure of a node that served until then: whoever supervises the process has nothing to start again. One that
 * never served had left before it was started. */
static void host_on_left(void *ctx, const char *message) {
    struct host *h = ctx;
    if (h->served)
        host_log(ctx, message);
    else
        cli_error("%s", message);
    h->failed = !h->served;
    notify("STOPPING=1");
    uv_world_stop(&h->world);
}

static void host_on_signal(void *ctx) {
    struct host *h = ctx;
    notify("STOPPING=1");
    uv_world_stop(&h->world);
}

static void host_on_disk_closed(void *ctx) {
    struct host *h = ctx;
    h->disk = NULL;
    uv_world_stop(&h->world);
}

/* --- opening ---------------------------------------------------------------------------------------------------- */

static void raise_file_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= NODE_FILES_WANTED)
        return;
    limit.rlim_cur = limit.rlim_max < NODE_FILES_WANTED ? limit.rlim_max : NODE_FILES_WANTED;
    setrlimit(RLIMIT_NOFILE, &limit); /* the lower limit also works, for fewer connections */
}

static int host_open_dir(struct host *h, const char *path) {
    int size = snprintf(h->local, sizeof h->local, "%s/" LOCAL_SOCKET, path);
    if (size < 0 || (size_t)size >= LOCAL_PATH_SIZE) {
        cli_error("%s: the name is too long for a Unix socket in it: use a shorter one with -d", path);
        return ERR_INVALID;
    }
    int error = datadir_open(&h->dir, path);
    if (error != 0)
        cli_error("%s", h->dir.error);
    return error;
}

/* A directory that has data but no identity has lost it: a new one would make an empty stranger of this node. */
static int host_open_identity(struct host *h) {
    uint8_t seed[IDENTITY_SEED_SIZE];
    int error = datadir_load_identity(&h->dir, &h->identity);
    if (error == ERR_NOT_FOUND && datadir_has(&h->dir, "meta")) {
        cli_error("%s holds the data of a node, but its key file 'identity' is missing: bring it back, or use an "
                  "empty directory",
                  h->dir.path);
        return error;
    }
    if (error == ERR_NOT_FOUND) {
        random_fill(h->world.random, seed, sizeof seed);
        error = datadir_create_identity(&h->dir, seed, &h->identity);
    }
    if (error != 0)
        cli_error("%s", h->dir.error);
    h->has_identity = error == 0;
    return error;
}

static int host_open_world(struct host *h) {
    int error = uv_world_init(&h->world);
    h->has_world = error == 0;
    if (error == 0)
        error = uv_world_on_signal(&h->world, host_on_signal, h);
    if (error != 0)
        cli_error("the event loop does not start: %s", err_text(error));
    return error;
}

static int host_open_disk(struct host *h) {
    struct statvfs fs;
    if (h->options.capacity == 0 && statvfs(h->dir.path, &fs) == 0)
        h->options.capacity = (uint64_t)fs.f_blocks * fs.f_frsize;
    const struct uv_disk_options options = {.dir = h->dir.path, .capacity = h->options.capacity};
    int error = uv_disk_open(h->world.loop, &options, &h->disk);
    if (error != 0) {
        cli_error("%s: the store does not open: %s", h->dir.path, err_text(error));
        return error;
    }
    return 0;
}

static int host_start_node(struct host *h) {
    struct node_params params = {
        .net = h->world.net,
        .clock = h->world.clock,
        .random = h->world.random,
        .disk = h->disk,
        .identity = &h->identity,
        .aesgcm = noise_aesgcm_available(),
        .listen = h->options.listen,
        .advertise = h->options.advertise[0] != '\0' ? h->options.advertise : NULL,
        .local = h->local,
        .zone = h->options.zone,
        .capacity = h->options.capacity,
        .bits = h->options.bits,
        .replicas = h->options.replicas,
        .join = h->options.joining ? &h->options.ticket : NULL,
        .ready = host_on_ready,
        .failed = host_on_failed,
        .left = host_on_left,
        .log = host_log,
        .ctx = h,
    };
    node_tuning_default(&params.tuning);
    params.tuning.members.out_after_ms = h->options.out_after_ms;
    if (h->options.lease_reads)
        node_tuning_lease(&params.tuning);
    int error = node_new(&params, &h->node);
    if (error == 0)
        return 0;
    if (!h->failed)
        cli_error("the node does not start: %s", err_text(error));
    return error;
}

static int host_open(struct host *h, const char *path) {
    int error = host_open_dir(h, path);
    if (error == 0)
        error = host_open_world(h);
    if (error == 0)
        error = host_open_identity(h);
    if (error == 0)
        error = host_open_disk(h);
    return error == 0 ? host_start_node(h) : error;
}

/* The node's last disk operations still report to it, so it goes last. */
static void host_close(struct host *h) {
    if (h->node != NULL)
        node_stop(h->node);
    if (h->disk != NULL) {
        uv_disk_close(h->disk, host_on_disk_closed, h);
        while (h->disk != NULL)
            uv_world_run(&h->world);
    }
    if (h->has_world)
        uv_world_release(&h->world);
    if (h->node != NULL)
        node_free(h->node);
    if (h->has_identity)
        identity_release(&h->identity);
    datadir_close(&h->dir);
}

static int node_run(int argc, char **argv) {
    struct cli_args args = {.command = &command_node, .argc = argc, .argv = argv};
    struct host *h = calloc(1, sizeof *h);
    CHECK(h != NULL);
    h->dir.fd = -1;
    h->dir.lock_fd = -1;
    int exit_code = CLI_FAILED;
    if (node_options_read(&args, &h->options) == CLI_STOP) {
        exit_code = args.exit;
        goto done;
    }
    umask(077);
    raise_file_limit();
    if (host_open(h, args.dir) == 0)
        uv_world_run(&h->world);
    else
        h->failed = true;
    host_close(h);
    exit_code = h->failed ? CLI_FAILED : CLI_DONE;
done:
    node_options_release(&h->options);
    free(h);
    return exit_code;
}

const struct cli_command command_node = {
    .name = "node",
    .summary = "run a node, in the foreground",
    .usage =
        "  shoal node [-d DIR] [--listen HOST:PORT] [--advertise HOST:PORT] [--join TICKET] [--zone Z]\n"
        "             [--capacity SIZE] [--replicas N] [--arcs N] [--out-after TIME]\n"
        "             [--reads quorum|lease]\n\n"
        "  -d, --data DIR  where it keeps everything; made when missing. One that holds only other\n"
        "                  files is refused\n"
        "  --listen A      where other nodes connect; default " NODE_LISTEN_DEFAULT "\n"
        "  --advertise A   what they dial; default: the address listened on, or for 0.0.0.0 the machine's first\n"
        "                  that is not loopback\n"
        "  --join TICKET   join the swarm that a 'shoal invite' there printed the ticket of; - reads it from\n"
        "                  standard input. An empty DIR without --join becomes the first node of a new swarm\n"
        "  --zone Z        replicas are kept in different zones (rooms, sites) while there are enough\n"
        "  --capacity S    bytes to offer: 500GB, 10TiB; default: the size of the file system\n"
        "  --replicas N    copies of everything, 1 to 7; only for a new swarm; default 3\n"
        "  --arcs N        slices of the ring, a power of two; only for a new swarm; default 1024\n"
        "  --out-after T   a node unheard of for so long is out, and others take over its data until it is\n"
        "                  back: 10m (default), 1h, 0 for never. Give it to all nodes alike\n"
        "  --reads HOW     quorum (default): each read is confirmed by a majority of the replicas. lease: a leader\n"
        "                  that a majority heard within 0.4 s answers by itself. Correct only while the clocks of\n"
        "                  all nodes run equally fast within 20%, and no machine is suspended or moved while its\n"
        "                  node runs\n\n"
        "Prints a line that starts with 'ready:' when it serves. SIGTERM or ctrl-c stops it, a second one at\n"
        "once. It also ends, with status 0, when it leaves its swarm; started again in the same DIR after that, it\n"
        "ends with status 1. Log lines go to standard error.\n",
    .run = node_run,
};
